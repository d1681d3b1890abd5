"""Entries on disk: shared by processes and runs, checked on every read, bounded, and never why a run fails."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock

from salip_exp._files import TooLarge, acquire, open_file, process_lock, read_file, write_bytes
from salip_exp.cache._base import Arrays, Counted, Stage
from salip_exp.cache._files import (
    HEAD,
    Damaged,
    entry_path,
    evict_some,
    is_eviction_due,
    locks_folder,
    pack,
    unpack,
)

log = logging.getLogger(__name__)

_PREFIX = 2  # leading characters of a key that name its lock: a stage has 256 lock files at most
_POLL_S = 0.01
LOCK_WAIT_S = 600.0  # for one who computes the same; after that it is computed here, too


class ThreadLocks:
    """Locks between the threads of one process, one per stage and prefix of keys."""

    def __init__(self) -> None:
        self._locks: dict[tuple[Stage, str], threading.Lock] = {}
        self._held = threading.local()

    @contextmanager
    def hold(self, stage: Stage, key: str) -> Iterator[None]:
        """Keep other threads from all keys of the same prefix.

        Raises:
            RuntimeError: this thread holds a lock of the stage already, and might wait for itself.
        """
        held: set[Stage] = self._held.__dict__.setdefault("stages", set())
        if stage in held:
            raise RuntimeError(f"an entry of {stage} cannot be computed while another one of {stage} is")
        with self._locks.setdefault((stage, key[:_PREFIX]), threading.Lock()):
            held.add(stage)
            try:
                yield
            finally:
                held.remove(stage)


class FileLocks:
    """Locks between processes, and between the threads of each; a lock dies with its process, however that ends.

    Args:
        folder: of the lock files, which are empty and stay: unlinking a lock that others wait for would split it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadLocks()
        self._usable = True

    @contextmanager
    def hold(self, stage: Stage, key: str) -> Iterator[None]:
        """Keep others from all keys of the same prefix: threads and, where files can be locked, processes."""
        with self._threads.hold(stage, key):
            lock = self._acquired(self._folder / stage / f"{key[:_PREFIX]}.lock") if self._usable else None
            try:
                yield
            finally:
                if lock is not None:
                    lock.release()

    def _acquired(self, path: Path) -> BaseFileLock | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = process_lock(path)
            acquire(lock, "computes the same stage", LOCK_WAIT_S, _POLL_S)
        except OSError as fault:  # a time-out among them: somebody was stopped while he held it
            self._give_up(fault)
            return None
        return lock

    def _give_up(self, fault: OSError) -> None:
        if self._usable:
            self._usable = False
            log.warning(
                "no locks in %s (%s): processes that share this cache may compute the same entry twice, with the same "
                "result",
                self._folder,
                fault.strerror or fault,
            )


T = TypeVar("T")

TOUCH_S = 60.0  # a file's time of last use is at most this much too old
REMEMBERED = 50_000  # entries of which a store knows what it saw and when it touched them
_CHECK_BYTES = 256 << 20  # bytes that a process writes between two looks at the budget, at most
_CHECK_SHARE = 0.05  # of the budget: the other bound


class DiskStore(Counted):
    """A store of files below a folder; `_files.py` says where each lies and what is in it.

    Files appear whole, by renaming. They are not synced: after a power cut an entry may be damaged, which its digest
    shows, and then it is computed again. When the disk takes no more, one warning is logged and writing ends.

    Args:
        folder: of everything kept between runs.
        budget_bytes: of all files together; above it the least recently used leave. Opening a store looks at nothing.
            Each process looks at a part of a large cache before it writes for the first time, and so often that it has
            been round after every 5 % that it wrote (256 MB at most), so several may exceed it by that much each.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        super().__init__()
        self.writing = True
        self._folder = folder
        self._budget = budget_bytes
        self._check_bytes = min(_CHECK_BYTES, int(_CHECK_SHARE * budget_bytes))
        self._written = 0  # since the last look at the budget
        self._share = 1.0  # of all entries that it went through: after so much less it is due again
        self._touched: dict[tuple[Stage, str], float] = {}
        self._seen: dict[tuple[Stage, str], bytes] = {}  # heads of the files read or written last
        self._unfit: set[tuple[Stage, str]] = set()  # unreadable, or damaged and not to be removed
        self._guard = threading.Lock()
        self._locks = FileLocks(locks_folder(folder))
        self._overdue = is_eviction_due(folder, budget_bytes)

    def peek(self, stage: Stage, key: str) -> Arrays | None:
        """The entry, read-only; finding nothing is not counted."""
        found = self.reread(stage, key)
        if found is not None:
            self.stats[stage].count(hits_disk=1)
            self.touch(stage, key)
        return found

    def reread(self, stage: Stage, key: str) -> Arrays | None:
        """The newest version of the entry; neither a hit nor a miss is counted."""
        if (stage, key) in self._unfit:
            return None
        with self._timed(stage):
            try:
                data = read_file(entry_path(self._folder, stage, key), self._budget)
                self.stats[stage].count(bytes_read=len(data))
                arrays = unpack(stage, key, data)
            except FileNotFoundError:
                return None
            except (Damaged, OSError, TooLarge) as fault:
                self._discard(stage, key, fault)
                return None
            _remember(self._seen, stage, key, data[:HEAD])
            return arrays

    def is_as_seen(self, stage: Stage, key: str) -> bool:
        """Whether the file of an entry is the very one that this store read or wrote last, by its digest."""
        try:
            with open_file(entry_path(self._folder, stage, key), self._budget) as stream:
                return stream.read(HEAD) == self._seen.get((stage, key))
        except (OSError, TooLarge):
            return False

    def put(self, stage: Stage, key: str, arrays: Arrays) -> None:
        """Write an entry in place of what had its key, in one step; a disk that takes no more does not raise."""
        if self._overdue:  # before, as it may make the room that is wanted
            self._overdue = False
            self._evict()
        with self._timed(stage):
            size = self._write(stage, key, arrays) if self.writing else 0
        self.stats[stage].count(bytes_written=size, unwritten=size == 0)
        if self._is_check_due(size):
            self._evict()

    def lock(self, stage: Stage, key: str) -> AbstractContextManager[None]:
        """Keep other threads and processes from computing the same entry."""
        return self._locks.hold(stage, key)

    def touch(self, stage: Stage, key: str) -> None:
        """Note that an entry is in use, at most once a minute."""
        now = time.monotonic()
        if now - self._touched.get((stage, key), -TOUCH_S) < TOUCH_S:
            return
        _remember(self._touched, stage, key, now)
        with suppress(OSError):  # gone, or not ours to touch
            os.utime(entry_path(self._folder, stage, key))

    def _write(self, stage: Stage, key: str, arrays: Arrays) -> int:
        """Bytes written: all, or 0 where the entry is larger than the budget or the disk takes no more."""
        path, pieces = entry_path(self._folder, stage, key), pack(stage, key, arrays)
        size = sum(len(piece) for piece in pieces)
        if size > self._budget:
            return 0
        try:
            write_bytes(path, pieces, sync=False)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as fault:  # something else has its name
            self._unfit.add((stage, key))
            log.warning("%s cannot be written (%s): this entry is not kept", path, fault.strerror)
            return 0
        except OSError as fault:
            self._give_up(path, fault)
            return 0
        _remember(self._seen, stage, key, bytes(pieces[0]))
        _remember(self._touched, stage, key, time.monotonic())
        self._unfit.discard((stage, key))
        return size

    def _discard(self, stage: Stage, key: str, fault: Exception) -> None:
        """Have an entry computed again. A damaged file is removed; one that cannot be read may be whole for others."""
        path = entry_path(self._folder, stage, key)
        log.warning("%s is damaged or unreadable (%s); computing it again", path, fault)
        self.stats[stage].count(damaged=1)
        self._unfit.add((stage, key))
        if isinstance(fault, Damaged):
            with suppress(OSError):
                path.unlink(missing_ok=True)
                self._unfit.discard((stage, key))

    def _give_up(self, path: Path, fault: OSError) -> None:
        with self._guard:
            first, self.writing = self.writing, False
        if first:
            log.warning(
                "%s cannot be written (%s): the cache keeps nothing more of this run, and the run goes on",
                path,
                fault.strerror or fault,
            )

    def _is_check_due(self, size: int) -> bool:
        with self._guard:
            self._written += size
            full = self._written > self._check_bytes * self._share
            if full:
                self._written = 0
        return full

    def _evict(self) -> None:
        try:
            removed, self._share = evict_some(self._folder, self._budget)
        except OSError as fault:
            log.warning("the cache %s cannot be pruned: %s", self._folder, fault)
            return
        if removed.n:
            log.info("the cache reached its budget: %d least recently used entries removed", removed.n)

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stats[stage].count(seconds=time.perf_counter() - start)


def _remember(what: dict[tuple[Stage, str], T], stage: Stage, key: str, value: T) -> None:
    """Note a value, and forget all others now and then: what is forgotten costs one more look at a file."""
    if len(what) >= REMEMBERED:
        what.clear()
    what[stage, key] = value
