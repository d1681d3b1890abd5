"""Files: written so that nobody ever sees half of one, and the folder of what is kept between runs."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_path

from salip_exp._secrets import hidden
from salip_exp.errors import EnvironmentFault, Unwritable

Buffer = bytes | memoryview
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a file system says that has no locks."""
PICTURE = 1 << 30
"""Bytes of the largest picture; 100 million pixels of 16-bit colours are 0.6 GB before they are packed."""
SMALL = 16 << 20
"""Bytes of the largest table, list, record or text that is read whole; none that is meant for it comes near."""
JSON_VALUES = 2_000_000
"""Values and brackets of the largest JSON, commas in its texts counted too."""
YAML = 1 << 20
"""Bytes of the largest YAML."""
YAML_VALUES = 20_000
"""Values of the largest YAML, every alias counted as what it stands for; composing 1,000 of them takes a second."""
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is libyaml's, ten times as fast
DEPTH = 100
"""Levels that JSON and YAML may be nested; what is meant for people has five."""
_SOMETHING_ELSE = {
    stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


class TooLarge(ValueError):
    """A file or a text has more than the limit, which the message names."""


def cache_folder() -> Path:
    """Folder of everything kept between runs: `SALIP_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("SALIP_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else user_cache_path("salip_exp", appauthor=False)
    except RuntimeError as error:  # no HOME, and a user id without an account
        raise EnvironmentFault("this user has no home folder to keep things in: set SALIP_CACHE=DIR") from error


def process_lock(path: Path, timeout_s: float = -1) -> BaseFileLock:
    """A lock between processes that dies with its process, however that ends; not yet acquired.

    filelock's own stand-in where a file system has no locks, a mark in the folder, would outlive a killed process and
    keep everybody out. It is not wanted here: acquiring then raises.

    Args:
        path: of the lock file; its folder must exist.
        timeout_s: how long `acquire` waits; -1 for ever.

    Raises:
        OSError: on acquiring, where the file cannot be made or the file system has no locks; `filelock.Timeout`, one
            of its kinds, when another process holds the lock for too long.
    """
    return FileLock(path, timeout=timeout_s, fallback_to_soft=False)


SAY_AFTER_S = 5.0
"""Until it is said whom a process waits for."""


def acquire(lock: BaseFileLock, what: str, most_s: float, poll_s: float = 0.05) -> None:
    """Take a lock that others hold for a while, and say on stderr, after some seconds, for what is waited.

    Args:
        what: of what others are busy with, e.g. `fetches vit_h`.
        most_s: to wait.

    Raises:
        filelock.Timeout: it was held for all that time.
        OSError: the file cannot be made, or the file system has no locks.
    """
    try:
        lock.acquire(timeout=min(SAY_AFTER_S, most_s), poll_interval=poll_s)
    except Timeout:
        if most_s <= SAY_AFTER_S:
            raise
        with suppress(OSError, ValueError):  # nobody listens
            sys.stderr.write(
                f"waiting for another process, which {what} and holds {lock.lock_file}, {most_s:g} seconds at most\n"
            )
        lock.acquire(timeout=most_s - SAY_AFTER_S, poll_interval=poll_s)


Fill = Callable[[BinaryIO], object]
"""Writes what a file is to hold."""


def write_bytes(path: Path, data: bytes | Sequence[Buffer] | Fill, sync: bool = True) -> None:
    """Write a file under a name of its own in the same folder, then give it its final name in one step.

    Args:
        path: of the file; folders that are missing are made.
        data: what it holds then, whole or in pieces, or what writes that.
        sync: whether it must outlast a power cut from here on; without, it may be damaged after one.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind.
        EnvironmentFault: it lies in a folder that this process works in, and that is not there any more (`keep`).
    """
    _make(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("wb") as stream:
            if callable(data):
                data(stream)
            else:
                stream.writelines([data] if isinstance(data, bytes) else data)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


_kept: dict[Path, tuple[int, int]] = {}
"""Folders that this process works in, and which they were: device and inode."""


def keep(folder: Path) -> None:
    """Make a folder where it is not there; from now on this process writes below it only while it is this very one.

    Raises:
        OSError: it cannot be made.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _kept[folder] = _which(folder)


def let_go(folder: Path) -> None:
    """The end of `keep`, for the folder and all below it."""
    folder = folder.absolute()
    for each in [kept for kept in _kept if kept == folder or folder in kept.parents]:
        del _kept[each]


def require_kept(path: Path) -> Path | None:
    """The folder nearest to a path that this process works in, proven to be there still; None where there is none.

    Raises:
        EnvironmentFault: it, or one above it that this process works in, was deleted, moved or replaced.
    """
    path = path.absolute()
    found = [each for each in (path, *path.parents) if each in _kept]
    for each in found:
        try:
            same = _which(each) == _kept[each]
        except OSError:
            same = False
        if not same:
            raise EnvironmentFault(
                f"{each} was deleted, moved or replaced while this command worked in it: nothing more is written "
                "there; put it back, or begin in another folder"
            )
    return found[0] if found else None


def _which(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _make(folder: Path) -> None:
    """Make the folder of a file; below one that this process works in never more than what belongs into that one."""
    kept = require_kept(folder)
    if kept is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    inner = folder.absolute().relative_to(kept).parts
    for depth in range(len(inner)):
        kept.joinpath(*inner[: depth + 1]).mkdir(exist_ok=True)


_DRAFT = re.compile(r"\..+\.(?:(\d+)-)?[0-9a-f]{32}\.tmp")
_STALE_S = 3600.0  # a draft older than this has no writer any more, whatever process has its number now
_MOST_DRAFTS = 1000


def clear_drafts(folder: Path) -> None:
    """Remove what killed processes were writing into a folder, and into the folders in it; at most 1,000 files."""
    with suppress(OSError):  # what cannot be removed is in nobody's way
        inner = [Path(each.path) for each in os.scandir(folder) if each.is_dir(follow_symlinks=False)]
        found = (each for place in (folder, *inner) for each in os.scandir(place) if _is_abandoned(each))
        for each in islice(found, _MOST_DRAFTS):
            Path(each.path).unlink(missing_ok=True)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    """Whether a file is a draft whose writer is gone; whoever asks is writing nothing itself."""
    found = _DRAFT.fullmatch(entry.name)
    if found is None:
        return False
    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_S:
        return True
    return found[1] is not None and not (int(found[1]) != os.getpid() and is_alive(int(found[1])))


def is_alive(process: int) -> bool:
    """Whether a process of this machine lives; True where that cannot be found out."""
    if os.name == "nt":  # to signal a process there is to end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def is_stopped(process: object) -> bool:
    """Whether a process of this machine was stopped (SIGSTOP, Ctrl-Z); False where that cannot be found out."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] in (["T"], ["t"])


def prove_writable(folder: Path) -> None:
    """Write a byte to a folder that is there, and take it away again; raises OSError where that cannot be done."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(b"room for a byte")
        stream.flush()
        os.fsync(stream.fileno())


def open_file(path: Path, most: int) -> BinaryIO:
    """A regular file, open for reading: the one door for what others have written.

    A FIFO, a socket, a device or a folder, also behind a link, is refused before it is opened, and once more after
    that, when it cannot be replaced any longer; opening never waits.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        TooLarge: it is larger.
        OSError: it cannot be opened, or is no regular file.
    """
    _require_regular(path.stat(), path)
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(handle)
        _require_regular(facts, path)
        _require_size(facts.st_size, most)
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file, of which no more than `most` are read; errors as in `open_file`."""
    with open_file(path, most) as stream:
        data = stream.read(most + 1)
    _require_size(len(data), most)
    return data


def read_small(path: Path) -> bytes:
    """The bytes of a file that is meant to be small.

    Raises:
        TooLarge: it is larger than SMALL; no more than that is read.
        OSError: it cannot be read, or is no regular file.
    """
    return read_file(path, SMALL)


def kind_of(mode: int) -> str | None:
    """What a path leads to, by the mode of its `stat`, in words; None for a regular file."""
    return None if stat.S_ISREG(mode) else _SOMETHING_ELSE.get(stat.S_IFMT(mode), "something else")


def _require_regular(facts: os.stat_result, path: Path) -> None:
    kind = kind_of(facts.st_mode)
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind} and no regular file", str(path))


def _require_size(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"it is larger than {most / (1 << 20):,.0f} MB, which is the limit")


def from_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: it is no JSON, or holds a number that is none (NaN, 1e400); TooLarge, if it is nested deeper than
            DEPTH, holds more than JSON_VALUES, or a whole number that no float can be near.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    opening = raw.count(b"[") + raw.count(b"{")
    if opening + raw.count(b",") > JSON_VALUES:
        raise TooLarge(f"it holds more than {JSON_VALUES:,} values, which is the limit")
    if opening > DEPTH and _depth(raw) > DEPTH:
        raise TooLarge(f"it is nested too deeply, in more than {DEPTH} levels")
    return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)


def _finite(said: str) -> float:
    if not math.isfinite(number := float(said)):
        raise ValueError(f"it holds {said:.40}, and JSON has finite numbers alone")
    return number


def _whole(digits: str) -> int:
    if len(digits) > sys.float_info.max_10_exp:
        raise TooLarge(f"it holds a number of {len(digits)} digits, and the limit is {sys.float_info.max_10_exp}")
    return int(digits)


def from_yaml(content: bytes) -> Any:
    """What YAML says, bounded as in `bounded_yaml`, which says what is raised; no objects but plain ones."""
    return yaml.load(bounded_yaml(content), _YamlLoader)


def bounded_yaml(content: bytes) -> str:
    """The text of YAML that stands for no more than YAML_VALUES values, aliases followed, in DEPTH levels.

    Raises:
        TooLarge: it stands for more.
        ValueError: it is no UTF-8; `yaml.YAMLError`, if it is no YAML.
    """
    text = content.decode("utf-8-sig")
    weights: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and how many values came before
    count = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        if isinstance(event, yaml.AliasEvent):
            count += weights.get(str(event.anchor), YAML_VALUES)  # one that is not closed holds itself
        elif isinstance(event, yaml.NodeEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionEndEvent)):
            anchor, before = open_nodes.pop()
            weights |= {anchor: count - before} if anchor else {}
        if count > YAML_VALUES or len(open_nodes) > DEPTH:
            raise TooLarge(f"it stands for more than {YAML_VALUES:,} values, aliases followed, or {DEPTH} levels")
    return text


def _depth(raw: bytes) -> int:
    """How deep the brackets of JSON are nested; what stands in its texts does not count."""
    level = deepest = 0
    for bracket in re.sub(rb'"(?:[^"\\]|\\.)*+"|[^\[\]{}"]++', b"", raw, flags=re.DOTALL):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A grey (H, W) or RGB (H, W, 3) picture as the bytes of a PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def atomic_write(path: Path, content: bytes | str | Fill) -> None:
    """Give the file its new content in one step; text is written as UTF-8, what UTF-8 lacks as escapes.

    A reader, or the next run after a crash, sees the old content or the new one, never a part.

    Raises:
        Unwritable: the disk is full or the folder cannot be written; what was there before is untouched.
        EnvironmentFault: it lies in a folder that this process works in, and that is not there any more (`keep`).
    """
    try:
        write_bytes(path, hidden(content).encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        sync_folder(path.parent)
    except OSError as error:
        require_kept(path.parent)  # which says so where the folder went while the file was written
        raise Unwritable(f"{path} cannot be written ({error.strerror or error}): make room or get access") from error


def sync_chain(folder: Path) -> None:
    """Make a folder, and those above it on its file system, last through a power cut.

    Raises:
        OSError: that of the folder itself; those above it may be others'.
    """
    folder = folder.absolute()
    sync_folder(folder)
    device = folder.stat().st_dev
    for each in folder.parents:
        with suppress(OSError):
            if each.stat().st_dev != device:
                return
            sync_folder(each)


def sync_folder(folder: Path) -> None:
    """Make what was made or renamed in a folder last through a power cut.

    Windows cannot open folders and does not need it.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
