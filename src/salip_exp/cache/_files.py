"""The files of the cache: what is in one, where each lies, what there is, and taking away what is too much.

Below the folder of everything kept between runs:
    stages/v1/<stage>/<first two of the key>/<key>.bin           an entry
    stages/v1/<stage>/<first two of the key>/.<key>.bin.*.tmp    a draft: being written, or left by a killed process
    stages/v1/budget.txt                                         how far pruning is, and what it found
    locks/<stage>/<first two of the key>.lock, locks/pruning.lock

An entry holds arrays in the safetensors layout, which holds no code; from its start:
    16 bytes   MARK, which names the format and its version
    32 bytes   SHA-256 over stage, key and all that follows: damage shows, and so does a file that was given the
               name of another
    8 bytes    length of the header
    header     JSON: type, shape and place of each array
    the rest   the arrays, the widest numbers first, so that each is aligned
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from salip_exp._files import Buffer, TooLarge, from_json, process_lock, read_file, read_small, write_bytes
from salip_exp.cache._base import DTYPES, Arrays, Stage, freeze
from salip_exp.config import CacheConfig

# The layout is that of safetensors; its library copies every array once or twice each way, and does not notice flipped
# bits. SHA-256 and not the keys' blake2b: processors have instructions for it, which makes it 2.7 times as fast.

MARK = b"salip stage v1\r\n"
HEAD = len(MARK) + hashlib.sha256().digest_size
_NUMBER = struct.Struct("<Q")
CODES = {name: f"{np.dtype(name).kind.upper()}{8 * np.dtype(name).itemsize}" for name in DTYPES} | {"bool": "BOOL"}
NAMES = {code: name for name, code in CODES.items()}
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error)


class Damaged(Exception):
    """The bytes are not what was written for this stage and key; the message says how that shows."""


def pack(stage: Stage, key: str, arrays: Arrays) -> list[Buffer]:
    """The bytes of an entry, in pieces, of which the arrays are no copies.

    Raises:
        TypeError: an array of something else than numbers and truth values.
    """
    ordered = sorted(freeze(arrays).items(), key=lambda item: -item[1].itemsize)
    header, end = {}, 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": CODES[array.dtype.name], "shape": array.shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _NUMBER.size)
    content = [_NUMBER.pack(len(text)), text, *(_memory(array) for _, array in ordered)]
    return [MARK + _digest(stage, key, content), *content]


def unpack(stage: Stage, key: str, data: bytes) -> Arrays:
    """The arrays of an entry, read-only, and no copies of the data.

    Raises:
        Damaged: cut off, changed, of another version, or written for another stage or key.
    """
    if not data.startswith(MARK):
        raise Damaged("it does not begin as entries of this version do")
    if data[len(MARK) : HEAD] != _digest(stage, key, [memoryview(data)[HEAD:]]):
        raise Damaged("its SHA-256 is not that of what was written")
    try:
        start = HEAD + _NUMBER.size
        begin = start + _NUMBER.unpack_from(data, HEAD)[0]
        return {name: _array(data, begin, **form) for name, form in json.loads(data[start:begin]).items()}
    except _UNREADABLE as fault:
        raise Damaged(f"its header does not describe it: {fault}") from fault


def _array(data: bytes, begin: int, dtype: str, shape: list[int], data_offsets: tuple[int, int]) -> NDArray[Any]:
    kind = np.dtype(NAMES[dtype]).newbyteorder("<")
    first, last = data_offsets
    return np.frombuffer(data, kind, (last - first) // kind.itemsize, begin + first).reshape(shape)


def _memory(array: NDArray[Any]) -> Buffer:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data


def _digest(stage: Stage, key: str, content: Sequence[Buffer]) -> bytes:
    whole = hashlib.sha256(f"{stage}/{key}\n".encode())
    for piece in content:
        whole.update(piece)
    return whole.digest()


SUFFIX, DRAFT = ".bin", ".tmp"
STALE_S = 3600.0  # a draft older than this has no writer any more
_CHECK_EVERY_S = 600.0
LOCK_TIMEOUT_S = 60.0
LOOKED_AT = 2000
"""Entries that one look of a run at the budget goes through, to the end of a prefix: some tenths of a second."""
REMOVED_AT = 250
"""Entries that one such look removes at most, which takes some file systems many milliseconds each."""
_PREFIXES = [f"{number:02x}" for number in range(256)]
_SLACK = 0.9  # pruning goes down to this share of the budget, so that it does not come back with the next entry


@dataclass(frozen=True)
class CacheFile:
    """A file of the cache.

    Attributes:
        path: where it lies.
        stage: whose entry it is.
        size: in bytes.
        used: last use, seconds since the epoch; of a draft, its last writing.
    """

    path: Path
    stage: Stage
    size: int
    used: float

    @property
    def key(self) -> str:
        """Key of the entry."""
        return self.path.name.removesuffix(SUFFIX)


@dataclass(frozen=True)
class Removed:
    """What was taken away: files, their bytes, and how many files the system refused to remove."""

    n: int = 0
    size: int = 0
    refused: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.n + other.n, self.size + other.size, self.refused + other.refused)


def stages_folder(folder: Path) -> Path:
    """Folder of all entries of this format."""
    return folder / "stages" / "v1"


def locks_folder(folder: Path) -> Path:
    """Folder of all lock files."""
    return folder / "locks"


def entry_path(folder: Path, stage: Stage, key: str) -> Path:
    """The file of an entry."""
    if not key.isalnum():
        raise ValueError(f"{key!r} is not a key: take one from content_key")
    return stages_folder(folder) / stage / key[:2] / f"{key}{SUFFIX}"


def entries(folder: Path) -> list[CacheFile]:
    """All entries, the least recently used first; files of other names are nobody's and are left alone."""
    return sorted(_files(folder, lambda name: name.endswith(SUFFIX)), key=lambda item: item.used)


def leftovers(folder: Path) -> list[CacheFile]:
    """Drafts that killed processes left behind."""
    return [item for item in _files(folder, lambda name: name.startswith(".")) if _is_leftover(item)]


def remove(items: Iterable[CacheFile]) -> Removed:
    """Take files away.

    A process that reads one meanwhile still gets the whole file, and the next finds nothing and computes.
    """
    return sum((_remove(item) for item in items), Removed())


def is_eviction_due(folder: Path, budget: int) -> bool:
    """Whether a look at the budget may find something: none went through all entries lately, or they are too many."""
    try:
        lately = _budget_file(folder).stat().st_mtime > time.time() - _CHECK_EVERY_S
    except OSError:
        return True
    held, following, sizes = _progress(folder)
    return not lately or (held, following) != (budget, 0) or sum(left for _, left in sizes.values()) > budget


def evict(folder: Path, budget: int, timeout_s: float = LOCK_TIMEOUT_S) -> Removed:
    """Where entries take more than the budget, take the least recently used away down to 90 % of it.

    Leftovers go too. One process at a time does this. The others wait, and so do not write meanwhile; nothing is
    removed here if that takes longer than `timeout_s`.

    Raises:
        OSError: a folder cannot be listed.
    """
    with _alone(folder, timeout_s) as alone:
        if not alone:
            return Removed()
        remove(leftovers(folder))
        items = entries(folder)
        total = sum(item.size for item in items)
        removed = remove(_excess(items, total, _SLACK * budget)) if total > budget else Removed()
        _keep_progress(folder, budget, 0, {})
        return removed


def evict_some(folder: Path, budget: int) -> tuple[Removed, float]:
    """A bounded part of `evict`, after which the next one goes on: prefixes of keys with LOOKED_AT entries, of which
    REMOVED_AT are removed at most.

    A small cache is one part, and pruned as by `evict`. Of a larger one, each part is brought down by as much as the
    whole is too large; the whole is judged by what each prefix took when it was last looked at. Keys are digests, so
    every prefix holds a fair sample of what is old and what is new.

    Returns:
        What was removed, and the share of all prefixes that were looked at.

    Raises:
        OSError: a folder cannot be listed.
    """
    with _alone(folder, LOCK_TIMEOUT_S) as alone:
        if not alone:
            return Removed(), 1.0
        _, first, sizes = _progress(folder)
        if first == 0:  # until the round is over, the whole is what it was before: all parts shrink by one measure
            sizes = {prefix: [left, left] for prefix, (_, left) in sizes.items()}
        items: list[CacheFile] = []
        last = first
        for last in range(first, len(_PREFIXES)):
            found = list(_files(folder, lambda name: True, [_PREFIXES[last]]))
            remove(item for item in found if _is_leftover(item))
            whole = [item for item in found if item.path.name.endswith(SUFFIX)]
            sizes[_PREFIXES[last]] = [sum(item.size for item in whole)] * 2
            items += whole
            if len(items) >= LOOKED_AT:
                break
        taken = sum(item.size for item in items)
        total = sum(found for found, _ in sizes.values()) / len(sizes) * len(_PREFIXES)
        gone = list(_excess(sorted(items, key=lambda item: item.used), taken, taken * _SLACK * budget / max(total, 1)))
        gone = gone[:REMOVED_AT] if total > budget else []
        for item in gone:
            prefix = item.key[:2]
            sizes[prefix] = [sizes[prefix][0], sizes[prefix][1] - item.size]
        removed = remove(gone)
        _keep_progress(folder, budget, (last + 1) % len(_PREFIXES), sizes)
        return removed, (last + 1 - first) / len(_PREFIXES)


@contextmanager
def _alone(folder: Path, timeout_s: float) -> Iterator[bool]:
    """Whether this process may prune: no other one does, for `timeout_s`."""
    with ExitStack() as stack:
        try:
            locks_folder(folder).mkdir(parents=True, exist_ok=True)
            stack.enter_context(process_lock(locks_folder(folder) / "pruning.lock", timeout_s))
        except Timeout:
            yield False
            return
        except OSError:
            pass  # no locks here: two that prune at once remove a little more than they must
        yield True


def _progress(folder: Path) -> tuple[int | None, int, dict[str, list[int]]]:
    """The budget that entries were last held against, the prefix to go on with, and bytes by prefix: found, left."""
    try:
        told = from_json(read_small(_budget_file(folder)))
        sizes = {name: [int(each) for each in told["sizes"][name][:2]] for name in _PREFIXES if name in told["sizes"]}
        start = int(told["next"]) % len(_PREFIXES)
        return (told["budget"], start, sizes) if all(len(each) == 2 for each in sizes.values()) else (None, 0, {})
    except (OSError, ValueError, TypeError, KeyError):
        return None, 0, {}


def _keep_progress(folder: Path, budget: int, following: int, sizes: Mapping[str, Sequence[int]]) -> None:
    told = {"budget": budget, "next": following, "sizes": sizes}
    with suppress(OSError):
        write_bytes(_budget_file(folder), json.dumps(told).encode(), sync=False)


def _remove(item: CacheFile) -> Removed:
    try:
        item.path.unlink()
    except FileNotFoundError:  # somebody else did
        return Removed()
    except OSError:
        return Removed(refused=1)
    return Removed(1, item.size)


def _budget_file(folder: Path) -> Path:
    return stages_folder(folder) / "budget.txt"


def _excess(items: Sequence[CacheFile], total: float, most: float) -> Iterator[CacheFile]:
    """The first of items that take `total` bytes, as far as the rest takes more than `most`."""
    for item in items:
        if total <= most:
            return
        total -= item.size
        yield item


def _is_leftover(item: CacheFile) -> bool:
    name = item.path.name
    return name.startswith(".") and name.endswith(DRAFT) and item.used < time.time() - STALE_S


def _files(folder: Path, wanted: Callable[[str], bool], prefixes: Sequence[str] | None = None) -> Iterator[CacheFile]:
    for stage in Stage:
        home = stages_folder(folder) / stage
        for prefix in (each.name for each in _scan(home)) if prefixes is None else prefixes:
            for each in _scan(home / prefix) if not (home / prefix).is_symlink() else ():
                with suppress(FileNotFoundError):  # removed meanwhile
                    if wanted(each.name) and each.is_file(follow_symlinks=False):
                        stat = each.stat(follow_symlinks=False)
                        yield CacheFile(Path(each.path), stage, stat.st_size, stat.st_mtime)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


Progress = Callable[[list[CacheFile]], Iterable[CacheFile]]

DAY_S = 86_400.0


def clean_up(folder: Path, config: CacheConfig, progress: Progress = iter) -> Iterator[tuple[str, Removed]]:
    """Do what `prune`, `older_than_days` or `clear` ask for; processes at work compute anew what they miss.

    Args:
        folder: of everything kept between runs.
        config: which of the three, and the budget that `prune` goes down to.
        progress: stands around the entries that are checked one by one, to show how far that is.

    Yields:
        What was done, in words, and what that removed.

    Raises:
        OSError: a folder cannot be listed, or an entry cannot be read.
    """
    if config.clear:
        yield "every entry", remove(entries(folder))
    if config.clear or config.prune:
        yield "left behind by killed processes", remove(leftovers(folder))
    if config.older_than_days is not None:
        since = time.time() - DAY_S * config.older_than_days
        old = (item for item in entries(folder) if item.used <= since)
        yield f"not used for {config.older_than_days:g} days", remove(old)
    if config.prune:
        yield "damaged", remove(item for item in progress(entries(folder)) if _is_damaged(item))
        yield (
            f"least recently used, to keep cache.disk_gb={config.disk_gb:g}",
            evict(folder, int(config.disk_gb * 1e9)),
        )


def _is_damaged(item: CacheFile) -> bool:
    with suppress(FileNotFoundError):  # removed meanwhile
        try:
            unpack(item.stage, item.key, read_file(item.path, item.size))
        except (Damaged, TooLarge):
            return True
    return False
