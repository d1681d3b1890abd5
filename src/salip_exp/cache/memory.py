"""Entries in memory: the least recently used leave when the budget is reached."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import AbstractContextManager

from salip_exp.cache.base import Arrays, Counted, Stage, freeze
from salip_exp.cache.disk import DiskStore
from salip_exp.cache.locks import ThreadLocks


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
