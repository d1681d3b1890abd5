"""What a store is, and the one that a configuration asks for: in memory, on disk with memory in front, or none."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from salip_exp._files import cache_folder, prove_writable
from salip_exp.cache._base import Arrays, Counted, Stage, Tally, freeze
from salip_exp.cache._disk import DiskStore, ThreadLocks
from salip_exp.cache._files import stages_folder
from salip_exp.config import CacheConfig, CacheMode
from salip_exp.errors import EnvironmentFault


class MemoryStore(Counted):
    """A store that lives as long as the process and is shared by its threads.

    Args:
        budget_bytes: of all arrays together; a larger entry is not kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        super().__init__()
        self._budget = budget_bytes
        self._size = 0
        self._entries: OrderedDict[tuple[Stage, str], Arrays] = OrderedDict()
        self._guard = threading.Lock()
        self._locks = ThreadLocks()

    def peek(self, stage: Stage, key: str) -> Arrays | None:
        """The entry, read-only; finding nothing is not counted."""
        with self._guard:
            found = self._entries.get((stage, key))
            if found is not None:
                self._entries.move_to_end((stage, key))
        if found is not None:
            self.stats[stage].count(hits_memory=1)
        return found

    def reread(self, stage: Stage, key: str) -> Arrays | None:
        """The newest version of the entry; nothing is counted."""
        return self._entries.get((stage, key))

    def put(self, stage: Stage, key: str, arrays: Arrays) -> None:
        """Keep an entry in place of what had its key; its arrays become read-only."""
        frozen = freeze(arrays)
        with self._guard:
            self._drop(stage, key)
            if _size(frozen) > self._budget:
                return
            self._entries[stage, key] = frozen
            self._size += _size(frozen)
            while self._size > self._budget:
                self._drop(*next(iter(self._entries)))

    def lock(self, stage: Stage, key: str) -> AbstractContextManager[None]:
        """Keep the other threads of this process from computing the same entry."""
        return self._locks.hold(stage, key)

    def _drop(self, stage: Stage, key: str) -> None:
        self._size -= _size(self._entries.pop((stage, key), {}))


def _size(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


class Layered(Counted):
    """A store that answers from memory what it can, and keeps everything on disk; both halves count in one tally."""

    def __init__(self, memory: MemoryStore, disk: DiskStore) -> None:
        self._memory, self._disk = memory, disk
        super().__init__()
        memory.stats = disk.stats = self.stats

    def peek(self, stage: Stage, key: str) -> Arrays | None:
        """The entry, read-only; finding nothing is not counted."""
        found = self._memory.peek(stage, key)
        if found is not None:
            self._disk.touch(stage, key)  # or a long run's own entries would look unused to those who prune
            return found
        found = self._disk.peek(stage, key)
        if found is not None:
            self._memory.put(stage, key, found)
        return found

    def reread(self, stage: Stage, key: str) -> Arrays | None:
        """The newest version: what is on disk, where others may have changed it, else what memory holds."""
        held = self._memory.reread(stage, key)
        if not self._disk.writing:  # memory may know more than a disk that takes nothing any more: it keeps its own
            found = self._disk.reread(stage, key)
            return held if found is None else found
        if held is not None and self._disk.is_as_seen(stage, key):
            return held
        found = self._disk.reread(stage, key)
        if found is None:
            return held
        self._memory.put(stage, key, found)
        return found

    def put(self, stage: Stage, key: str, arrays: Arrays) -> None:
        """Keep an entry in both, in place of what had its key; its arrays become read-only."""
        self._memory.put(stage, key, arrays)
        self._disk.put(stage, key, arrays)

    def lock(self, stage: Stage, key: str) -> AbstractContextManager[None]:
        """Keep other threads and processes from computing the same entry."""
        return self._disk.lock(stage, key)


__all__ = ["Arrays", "DiskStore", "Layered", "MemoryStore", "NoStore", "Stage", "Store", "Tally", "open_store"]


class Store(Protocol):
    """Where results of stages are kept. `fetch` and `fetch_rows` are what a stage calls."""

    stats: dict[Stage, Tally]

    def get(self, stage: Stage, key: str) -> Arrays | None:
        """The entry, its arrays read-only; None, counted as a miss, where it is absent or damaged."""

    def peek(self, stage: Stage, key: str) -> Arrays | None:
        """As `get`, but a miss is not counted: for a first look that a second one follows."""

    def reread(self, stage: Stage, key: str) -> Arrays | None:
        """The newest version, also where another process changed the entry; neither hit nor miss is counted."""

    def put(self, stage: Stage, key: str, arrays: Arrays) -> None:
        """Keep an entry in place of what had its key; the arrays are the store's from now on, and read-only."""

    def lock(self, stage: Stage, key: str) -> AbstractContextManager[None]:
        """Held while an entry is computed, so that nobody else computes it too."""


class NoStore(Counted):
    """Keeps nothing: every look is a miss."""

    def peek(self, stage: Stage, key: str) -> Arrays | None:
        """None."""
        return None

    def reread(self, stage: Stage, key: str) -> Arrays | None:
        """None."""
        return None

    def put(self, stage: Stage, key: str, arrays: Arrays) -> None:
        """Nothing is kept."""

    def lock(self, stage: Stage, key: str) -> AbstractContextManager[None]:
        """Nothing is shared, so nothing is locked."""
        return nullcontext()


def open_store(config: CacheConfig) -> Store:
    """The store that the configuration asks for, proven to be writable before anything is computed.

    Raises:
        EnvironmentFault: `mode=disk`, and the folder cannot be written.
    """
    if config.mode is CacheMode.off:
        return NoStore()
    memory = MemoryStore(config.memory_mb << 20)
    if config.mode is CacheMode.memory:
        return memory
    folder = folder_of(config)
    _probe(folder)
    return Layered(memory, DiskStore(folder, int(config.disk_gb * 1e9)))


def folder_of(config: CacheConfig) -> Path:
    """The folder of everything kept between runs."""
    return Path(config.folder).expanduser() if config.folder else cache_folder()


def _probe(folder: Path) -> None:
    try:
        stages_folder(folder).mkdir(parents=True, exist_ok=True)
        prove_writable(stages_folder(folder))
    except OSError as fault:
        raise EnvironmentFault(
            f"the cache folder {folder} cannot be written ({fault.strerror or fault}): choose another by "
            "cache.folder=DIR or SALIP_CACHE, or keep nothing on disk by cache=memory"
        ) from fault
