"""Memory in front of the disk."""

from __future__ import annotations

from contextlib import AbstractContextManager

from salip_exp.caching.counted import Counted
from salip_exp.caching.disk import DiskStore
from salip_exp.caching.memory import MemoryStore
from salip_exp.caching.stages import Arrays, Stage


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
