"""What a store is, and the one that a configuration asks for."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from salip_exp.cache.base import Arrays, Counted, Stage, Tally
from salip_exp.cache.disk import DiskStore
from salip_exp.cache.files import stages_folder
from salip_exp.cache.memory import Layered, MemoryStore
from salip_exp.config import CacheConfig, CacheMode
from salip_exp.errors import EnvironmentFault
from salip_exp.files import cache_folder

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
        with tempfile.TemporaryFile(dir=stages_folder(folder)) as stream:
            stream.write(b"room for a byte")
    except OSError as fault:
        raise EnvironmentFault(
            f"the cache folder {folder} cannot be written ({fault.strerror or fault}): choose another by "
            "cache.folder=DIR or SALIP_CACHE, or keep nothing on disk by cache=memory"
        ) from fault
