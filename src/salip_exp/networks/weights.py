"""Weights on disk: found in the cache or fetched, and proven by SHA-256 before anything reads them.

`SALIP_CACHE` (default: the user's cache folder) holds
    weights/FILE            proven files; FILE.partial while a download is under way or broken off
    locks/FILE.lock         empty; held while a process fetches FILE
    weights-sha256.json     hashes remembered, see `sha256_of`
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import urllib3
from filelock import Timeout
from tqdm import tqdm

from salip_exp._files import acquire, cache_folder, from_json, process_lock, read_small, write_bytes
from salip_exp.errors import EnvironmentFault, WeightsError
from salip_exp.networks.registry import Entry, named_by_hash

# Why not pooch, torch.hub or clip's own downloader: none continues a broken download, the last two trust or leave half
# files, and none lets two processes share one download. What follows is requests plus those three things.

_log = logging.getLogger(__name__)

CONNECT_S, READ_S = 10.0, 60.0  # without an answer, without a further byte
_LOCK_WAIT_S = 3600.0  # for another process that fetches the same file
_PAUSE_S = 1.0  # between tries
_TRIES = 3  # without a further byte, once bytes have flowed
_CHUNK = 1 << 16  # bytes read at once, and so the most that a broken connection loses
SLOW_S, SLOW_BYTES = 60.0, 60_000  # a server that gives fewer bytes in so many seconds is given up
_REDIRECTS = 5  # that are followed
_REMEMBER_FROM = 64 << 20  # bytes; smaller files hash faster than the memory is read
_SETTLED_NS = 2_000_000_000  # a file changed later than this ago may change again within the clock's grain

_SLOW = "the server sends less than {:g} kB a second"
_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def location(entry: Entry) -> Path:
    """Where the file of an entry lies, or has to be put."""
    return entry.path or cache_folder() / "weights" / entry.file


def obtain(entry: Entry, download: bool) -> Path:
    """Path of a file whose bytes are proven to be the entry's; absent or damaged official files are fetched.

    The hash is taken over the whole file before anything deserialises it, and a download gets its final name only
    after that. Several processes may ask at once: one fetches, the others wait and use its file.

    Args:
        entry: from `registry.find`.
        download: whether the network may be used.

    Raises:
        WeightsError: absent and not to be had, or not the bytes expected.
        EnvironmentFault: the cache folder cannot be written, or the disk is full.
    """
    path = location(entry)
    try:
        if path.is_file():
            got = sha256_of(path)
            if got == entry.sha256:
                return path
            if entry.url is None or entry.users or not download:
                raise WeightsError(_wrong(entry, path, got))
            _log.warning("%s is damaged (SHA-256 %s, not %s); fetching it again", path, got, entry.sha256)
        elif entry.url is None or entry.users or not download:
            raise WeightsError(_absent(entry, path, "download=false" if entry.url and not entry.users else ""))
        _fetch_once(entry, path)
    except OSError as fault:
        raise EnvironmentFault(_disk(fault, path)) from fault
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a whole file, in hexadecimal; that of a large file is remembered.

    Gigabytes take seconds to hash, so the hash of a file from 64 MB on is kept in `weights-sha256.json` with the
    file's size, inode and times of change (mtime and ctime, in nanoseconds), and taken anew as soon as any of them
    differs. A disk that loses bits without writing is the one damage this cannot see: delete that json to hash anew.
    """
    stat = path.stat()
    if stat.st_size < _REMEMBER_FROM:
        return _hash(path)
    memory = cache_folder() / "weights-sha256.json"
    mark = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
    known = _recall(memory)
    name = str(path.resolve())
    match known.get(name):
        case {"mark": seen, "sha256": str(sha256)} if seen == mark:
            return sha256
    sha256 = _hash(path)
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS:
        try:
            write_bytes(memory, json.dumps({**known, name: {"mark": mark, "sha256": sha256}}, indent=1).encode())
        except OSError as fault:  # a cache that cannot be written costs time, not the run
            _log.debug("hash of %s not remembered: %s", path, fault)
    return sha256


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _recall(memory: Path) -> dict[str, Any]:
    try:
        known = from_json(read_small(memory))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _fetch_once(entry: Entry, path: Path) -> None:
    """Fetch under a lock that dies with its process, unless another process was faster."""
    lock = cache_folder() / "locks" / f"{entry.file}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _held(lock, entry):
        if path.is_file() and sha256_of(path) == entry.sha256:
            return
        try:
            _fetch(entry, path)
        except requests.RequestException as fault:
            if _size(_partial(path)) == 0:
                _partial(path).unlink(missing_ok=True)
            raise WeightsError(_absent(entry, path, _reason(fault))) from fault


@contextmanager
def _held(path: Path, entry: Entry) -> Iterator[None]:
    """Keep others from fetching the file, after waiting for one who does."""
    lock = process_lock(path)
    try:
        acquire(lock, f"fetches {entry.file}", _LOCK_WAIT_S)
    except Timeout as fault:
        raise EnvironmentFault(
            f"another process holds {path} for more than {_LOCK_WAIT_S:g} seconds, and {entry.file} is not there: see "
            f"what became of it, or put the file at {location(entry)}"
        ) from fault
    try:
        yield
    finally:
        lock.release()


def _fetch(entry: Entry, path: Path) -> None:
    partial = _partial(path)
    continued = partial.exists()
    _log.info("fetching %s (%s) from %s to %s", entry.file, _mb(entry.size), entry.url, path.parent)
    _transfer(entry, partial)
    got = _hash(partial)
    if got != entry.sha256 and continued:  # the old part was of something else: once more from the start
        partial.unlink()
        _transfer(entry, partial)
        got = _hash(partial)
    if got != entry.sha256:
        raise _refused(entry, partial, f"gave {_size(partial):,} bytes with SHA-256 {got}, not {entry.sha256}")
    os.replace(partial, path)


def _refused(entry: Entry, partial: Path, what: str) -> WeightsError:
    """The error of a server that gives something else; nothing of it is kept."""
    partial.unlink(missing_ok=True)
    return WeightsError(
        f"{entry.option}: {entry.url} {what}, and nothing was kept; look for a proxy or login page in between, or put "
        f"the right file at {location(entry)}"
    )


def _transfer(entry: Entry, partial: Path) -> None:
    """Bring the partial file to its end: one try to reach the server, a few more after each further byte."""
    left, most = 1, _size(partial)
    while True:
        try:
            return _append(entry, partial)
        except _BROKEN as fault:
            left = _TRIES if _size(partial) > most else left - 1
            most = max(most, _size(partial))
            if left == 0:
                raise
            _log.info("%s broke off at %s (%s); trying again", entry.file, _mb(_size(partial)), _reason(fault))
            time.sleep(_PAUSE_S)


def _append(entry: Entry, partial: Path) -> None:
    """Ask for what is missing and append it; a server that sends the whole file instead starts it anew.

    No If-Range and ETag: the hash over the whole file decides in the end, whatever the pieces were.
    """
    have = _size(partial)
    wish = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with (
        _session() as session,
        session.get(str(entry.url), headers=wish, stream=True, timeout=(CONNECT_S, READ_S)) as answer,
    ):
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing, or the part is of something else: the hash will tell
        answer.raise_for_status()
        follows = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if not (answer.status_code == requests.codes.partial_content and follows):
            have = 0
        coming = _announced(entry, partial, answer, have)
        _require_space(partial, coming)
        total = have + coming if coming else entry.size
        bar = tqdm(desc=entry.file, total=total, initial=have, unit="B", unit_scale=True, disable=None)
        with bar, partial.open("ab" if have else "wb") as stream:
            for chunk in _chunks(answer):
                have += len(chunk)
                if entry.size is not None and have > entry.size:
                    raise _refused(entry, partial, f"gives more than the {entry.size:,} bytes of {entry.file}")
                stream.write(chunk)
                bar.update(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())
    if coming and total and have != total:
        raise requests.exceptions.ChunkedEncodingError(f"{have:,} of {total:,} bytes came")


def _session() -> requests.Session:
    session = requests.Session()
    session.max_redirects = _REDIRECTS
    return session


def _announced(entry: Entry, partial: Path, answer: requests.Response, have: int) -> int:
    """Bytes that are to come, 0 where the server does not say; refuses what cannot be the file before reading it."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # not asked for; a few bytes of it may stand for gigabytes
        raise _refused(entry, partial, f"sends it in Content-Encoding {encoding!r}, which was not asked for")
    length = answer.headers.get("Content-Length", "0")
    coming = int(length) if length.isdecimal() and len(length) < 20 else 0
    if entry.size is not None and have + coming > entry.size:
        raise _refused(
            entry, partial, f"announces {have + coming:,} bytes, more than the {entry.size:,} of {entry.file}"
        )
    return coming


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    """The body as it comes, not as whole chunks: a byte now and then must not look like waiting for one of them.

    Raises:
        requests.RequestException: the connection broke off, or gave too little for too long.
    """
    begun, got = time.monotonic(), 0
    try:
        while chunk := answer.raw.read1(_CHUNK):
            yield chunk
            got += len(chunk)
            if got >= SLOW_BYTES:
                begun, got = time.monotonic(), 0
            elif time.monotonic() - begun > SLOW_S:
                raise requests.Timeout(_SLOW.format(SLOW_BYTES / SLOW_S / 1000))
    except urllib3.exceptions.TimeoutError as fault:
        raise requests.Timeout(fault) from fault
    except urllib3.exceptions.HTTPError as fault:
        raise requests.exceptions.ChunkedEncodingError(fault) from fault


def _require_space(partial: Path, coming: int) -> None:
    if shutil.disk_usage(partial.parent).free < coming:
        raise OSError(errno.ENOSPC, f"{_mb(coming)} are needed", str(partial.parent))


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mb(size: int | None) -> str:
    return "size unknown" if size is None else f"{size / 1e6:,.0f} MB"


def _reason(fault: requests.RequestException) -> str:
    """One short cause out of the nested ones that requests and urllib3 wrap around each other."""
    if isinstance(fault, requests.HTTPError) and fault.response is not None:
        return f"the server answered {fault.response.status_code} {fault.response.reason}"
    if isinstance(fault, requests.TooManyRedirects):
        return f"the server redirects in a circle, or more than {_REDIRECTS} times"
    if isinstance(fault, requests.Timeout) and "less than" in str(fault):
        return str(fault)
    if isinstance(fault, requests.Timeout) or "timed out" in str(fault):
        return "the server does not answer"
    if isinstance(fault, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return "the server cannot be reached"


def _absent(entry: Entry, path: Path, why: str) -> str:
    if entry.users:
        return f"{entry.network}.weights={path}: no such file; check the path"
    if entry.url is None:
        return f"{entry.option}: the embedded file {path} is missing; install salip_exp again"
    kept = _size(_partial(path))
    begun = f"; {_mb(kept)} of it are kept, and the same command continues there" if kept else ""
    return (
        f"{entry.option}: {entry.file} ({_mb(entry.size)}, SHA-256 {entry.sha256}) is not in {path.parent} and was not "
        f"fetched from {entry.url} ({why}{begun}): get it on a machine with a network and put it at {path}, "
        f"or use {entry.network}=tiny, which needs no download"
    )


def _wrong(entry: Entry, path: Path, got: str) -> str:
    official = named_by_hash(entry.network, got)
    start = f"{entry.option}: {path} has SHA-256 {got}, but {entry.sha256} was expected"
    if official is not None:
        return f"{start}: it holds {entry.network}={official}, so use {entry.network}={official} or the other file"
    if entry.users:
        return f"{start}: copy the file again if it is damaged; if you trust it, add {entry.network}.sha256={got}"
    todo = "install salip_exp again" if entry.url is None else "delete it and allow download=true, or copy it again"
    return f"{start}: it is damaged; {todo}"


def _disk(fault: OSError, path: Path) -> str:
    place = fault.filename or path
    return (
        f"{fault.strerror or fault}: {place}, while getting {path.name}; "
        "make room or permit writing there, or set SALIP_CACHE to another folder"
    )
