"""Networks in memory: runs of one process that ask for the same one share it."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import asdict, replace

import torch

from salip_exp.cache.base import tallies
from salip_exp.cache.store import Store, open_store
from salip_exp.config import Config, DatasetConfig
from salip_exp.data.case import Album, CaseRef, Dataset
from salip_exp.data.registry import open_dataset
from salip_exp.errors import CaseError
from salip_exp.networks.clip import LoadedClip, load_clip
from salip_exp.networks.device import sped_up
from salip_exp.networks.sam import LoadedSam, load_sam
from salip_exp.networks.unet import LoadedUnet, load_unet
from salip_exp.runs.identity import data_hash, fingerprint
from salip_exp.runs.manifest import Engine
from salip_exp.runs.runner import load_engine, prepare
from salip_exp.timing import Stages


class Loaded:
    """The SAM and the CLIP that were asked for last; another one takes the place of the one before it.

    So memory never holds two large networks of a kind, and runs that are ordered by network load each once.
    """

    def __init__(self) -> None:
        self._sam: tuple[Hashable, LoadedSam] | None = None
        self._clip: tuple[Hashable, LoadedClip] | None = None

    def sam(self, config: Config, device: torch.device) -> LoadedSam:
        """The configured SAM; raises what `load_sam` raises."""
        chosen = config.sam
        key = (chosen.name, chosen.weights, chosen.sha256, str(device), config.precision, config.compile)
        if self._sam is None or self._sam[0] != key:
            self._sam = None
            loaded = sped_up(load_sam(chosen, device, config.download), config.precision, config.compile)
            self._sam = key, loaded
        return self._sam[1]

    def clip(self, config: Config, device: torch.device) -> LoadedClip:
        """The configured CLIP; raises what `load_clip` raises."""
        chosen = config.clip
        arithmetic = chosen.precision, config.precision, config.compile
        key = (chosen.name, chosen.weights, chosen.sha256, str(device), *arithmetic)
        if self._clip is None or self._clip[0] != key:
            self._clip = None
            loaded = sped_up(load_clip(chosen, device, config.download), config.precision, config.compile)
            self._clip = key, loaded
        return self._clip[1]


def loaded_unet(config: Config, device: torch.device) -> LoadedUnet:
    """The configured U-Net, small enough to be read by every run; raises what `load_unet` raises."""
    return sped_up(load_unet(config.unet.weights, device), config.precision, config.compile)


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
