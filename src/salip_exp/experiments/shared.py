"""What the cells of an experiment share in one process: images read once, networks loaded once, one stage cache."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from salip_exp.caching.stages import tallies
from salip_exp.caching.store import Store, open_store
from salip_exp.config import Config, DatasetConfig
from salip_exp.data.album import Album
from salip_exp.data.case import CaseRef, Dataset
from salip_exp.data.registry import open_dataset
from salip_exp.errors import CaseError
from salip_exp.models.loaded import Loaded
from salip_exp.running.identity import data_hash, fingerprint
from salip_exp.running.manifest import Engine
from salip_exp.running.runner import load_engine, prepare
from salip_exp.running.stages import Stages


class Shared:
    """Data sets, networks and stage cache of a process, each made once."""

    def __init__(self, memory_mb: int) -> None:
        """memory_mb: bound of the images in memory."""
        self.loaded = Loaded()
        self.album = Album(memory_mb << 20)
        self._stores: dict[str, Store] = {}
        self._datasets: dict[str, Dataset] = {}
        self._hashes: dict[str, str] = {}

    def dataset(self, config: DatasetConfig, seed: int) -> Dataset:
        """The configured data set, opened once; its cases are read once.

        Raises:
            DataError: it cannot be used.
        """
        key = _text(config, seed)
        if key not in self._datasets:
            found = open_dataset(config, seed)
            self._datasets[key] = replace(found, refs=self.album.remembering(found.refs))
        return self._datasets[key]

    def data_sha256(self, config: DatasetConfig, seed: int) -> str:
        """SHA-256 over the fingerprints of all cases; a case that cannot be read counts by its error.

        Raises:
            DataError: the data set cannot be used.
        """
        key = _text(config, seed)
        if key not in self._hashes:
            self._hashes[key] = data_hash(_fingerprint(ref) for ref in self.dataset(config, seed).refs)
        return self._hashes[key]

    def store(self, config: Config) -> Store:
        """The configured stage cache, opened once."""
        key = _text(config.cache)
        if key not in self._stores:
            self._stores[key] = open_store(config.cache)
        return self._stores[key]

    def prepare(self, config: Config, stages: Stages) -> tuple[Dataset, Engine]:
        """As `running.runner.prepare`, around what is there already; the cache's tallies start anew."""
        store = self.store(config)
        store.stats.update(tallies())
        return prepare(config, stages, store, self.loaded, self.dataset)

    def engine(self, config: Config) -> Engine:
        """The configured method around networks that are there already."""
        return load_engine(config, self.store(config), self.loaded)


def _fingerprint(ref: CaseRef) -> str:
    try:
        return fingerprint(ref.load())
    except CaseError as error:
        return f"{ref.case_id}: {error.code}"


def _text(config: object, *more: object) -> str:
    return json.dumps([asdict(config), *more], sort_keys=True)  # type: ignore[call-overload]
