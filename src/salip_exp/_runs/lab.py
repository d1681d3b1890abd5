"""What is made once and lent to runs, studies, trainings and experiments: data, networks, text, stage cache, device."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from salip_exp._runs.records import data_hash, fingerprint
from salip_exp._wording import weights_label
from salip_exp.cache.store import Store, open_store
from salip_exp.cascade.cached_sam import SamStages
from salip_exp.cascade.sentences import read_sentences
from salip_exp.cascade.work import Counters
from salip_exp.config import CacheConfig, Config, ResizeMode
from salip_exp.data.case import CaseMemory, CaseRef, Dataset
from salip_exp.data.datasets import open_dataset
from salip_exp.errors import CaseError, DataError
from salip_exp.methods._registry import build_method
from salip_exp.methods.base import Method
from salip_exp.methods.traits import METHODS
from salip_exp.networks.clip import LoadedClip, load_clip
from salip_exp.networks.device import arithmetic_of, pick_device, sped_up, use_threads
from salip_exp.networks.sam import LoadedSam, load_sam
from salip_exp.networks.unet import LoadedUnet, load_unet

_Network = TypeVar("_Network", LoadedSam, LoadedClip, LoadedUnet)


@dataclass(frozen=True)
class Loaded:
    """The networks that a method asks, None for one it does not, with its text and how they compute.

    Attributes:
        sentences: as CLIP reads them; empty for a method that reads none.
        device: type of the device that they run on.
        arithmetic: precision, and whether they are compiled.
    """

    sam: LoadedSam | None
    clip: LoadedClip | None
    unet: LoadedUnet | None
    sentences: Sequence[str]
    device: str
    arithmetic: str

    @property
    def names(self) -> dict[str, str]:
        """Name of the weights by network."""
        return {network: each.name for network, each in self._loaded.items()}

    @property
    def labels(self) -> dict[str, str]:
        """What is shown of the weights by network."""
        return {net: weights_label(each.name, each.file, each.sha256) for net, each in self._loaded.items()}

    @property
    def facts(self) -> dict[str, dict[str, object]]:
        """What a manifest tells of the weights by network."""
        found: dict[str, dict[str, object]] = {
            net: {"name": name, "sha256": self.hashes[net], "label": self.labels[net]}
            for net, name in self.names.items()
        }
        if self.clip is not None and self.clip.logit is not None:
            found["clip"]["logit"] = self.clip.logit
        return found

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights by network."""
        return {network: each.sha256 for network, each in self._loaded.items()}

    @property
    def _loaded(self) -> dict[str, LoadedSam | LoadedClip | LoadedUnet]:
        loaded = {"sam": self.sam, "clip": self.clip, "unet": self.unet}
        return {network: each for network, each in loaded.items() if each is not None}


class Lab:
    """Data sets, networks and stage caches of a process, each made when it is first asked for.

    Of SAM, CLIP and U-Net it holds those that the latest method asks; another one takes the place of the one before. So
    memory never holds two large networks of a kind, nor one that a run does not ask, and what a run held is its own.
    """

    def __init__(self, memory_mb: int = 0) -> None:
        """memory_mb: bound of the images in memory, for who goes over the same data set again and again."""
        self._memory = CaseMemory(memory_mb << 20)
        self._datasets: dict[str, Dataset] = {}
        self._prints: dict[str, dict[str, str]] = {}
        self._stores: dict[str, Store] = {}
        self._networks: dict[type, tuple[Hashable, LoadedSam | LoadedClip | LoadedUnet]] = {}

    def dataset(self, config: Config) -> Dataset:
        """The configured data set; no image is decoded before its case is loaded.

        Raises:
            DataError: it cannot be used, or holds nothing to run on.
        """
        key = _text(config.dataset, config.seed, config.stress)
        if key not in self._datasets:
            found = open_dataset(config.dataset, config.seed, config.stress)
            if not found.refs:
                raise DataError(f"{found.name}: none of {found.found} images is left to run on; see its exclusions")
            self._datasets[key] = replace(found, refs=self._memory.remembering(found.refs))
        return self._datasets[key]

    def natives(self, config: Config) -> dict[str, CaseRef]:
        """The cases of the data set by id, as their files have them, without resizing.

        Raises:
            DataError: it cannot be used.
        """
        kept = replace(config.dataset, resize=replace(config.dataset.resize, mode=ResizeMode.native))
        return {ref.case_id: ref for ref in open_dataset(kept, config.seed, config.stress).refs}

    def fingerprints(self, config: Config) -> Mapping[str, str]:
        """Fingerprints of all cases by id, as they were when first asked for; of one that cannot be read its error.

        Raises:
            DataError: the data set cannot be used.
        """
        key = _text(config.dataset, config.seed, config.stress)
        if key not in self._prints:
            self._prints[key] = {ref.case_id: _fingerprint(ref) for ref in self.dataset(config).refs}
        return self._prints[key]

    def data_sha256(self, config: Config) -> str:
        """SHA-256 over the fingerprints of all cases; raises what `fingerprints` raises."""
        return data_hash(self.fingerprints(config).values())

    def store(self, config: CacheConfig) -> Store:
        """The configured stage cache.

        Raises:
            EnvironmentFault: its folder cannot be written.
        """
        key = _text(config)
        if key not in self._stores:
            self._stores[key] = open_store(config)
        return self._stores[key]

    def loaded(self, config: Config) -> Loaded:
        """The networks that the configured method asks, and no others.

        Raises:
            WeightsError, ConfigError, EnvironmentFault: what is missing or wrong.
        """
        use_threads(config.threads)
        device, how = pick_device(config.device), (config.precision, config.compile)
        traits = METHODS[config.method]

        def one(kind: type[_Network], asked: bool, key: Hashable, load: Callable[[], _Network]) -> _Network | None:
            if asked:
                return self._network(kind, (key, str(device), how), lambda: sped_up(load(), *how))
            self._networks.pop(kind, None)
            return None

        sam, clip, unet = config.sam, config.clip, config.unet
        of_sam, of_clip = (sam.name, sam.weights, sam.sha256), (clip.name, clip.weights, clip.sha256, clip.precision)
        return Loaded(
            sam=one(LoadedSam, traits.sam, of_sam, lambda: load_sam(sam, device, config.download)),
            clip=one(LoadedClip, traits.clip, of_clip, lambda: load_clip(clip, device, config.download)),
            unet=one(LoadedUnet, traits.trained, unet.weights, lambda: load_unet(unet.weights, device)),
            sentences=read_sentences(config.vdt) if traits.clip else [],
            device=device.type,
            arithmetic=arithmetic_of(*how),
        )

    def method(self, config: Config) -> Method:
        """The configured method, new; its text is encoded here.

        Raises:
            ConfigError: a sentence is too long for CLIP; also what `loaded` and `store` raise.
        """
        loaded, store = self.loaded(config), self.store(config.cache)
        return build_method(config, loaded.sam, loaded.clip, loaded.sentences, store, loaded.unet)

    def asked_sam(self, config: Config) -> SamStages:
        """The configured SAM with a memory, for who asks it beside a method; raises what `loaded` and `store` raise."""
        sam = self.loaded(config).sam
        assert sam is not None  # whoever asks has a method that does
        return SamStages(sam, self.store(config.cache), Counters())

    def _network(self, kind: type[_Network], key: Hashable, load: Callable[[], _Network]) -> _Network:
        known = self._networks.pop(kind, None)  # dropped before another is read
        network = known[1] if known is not None and known[0] == key else load()
        assert isinstance(network, kind)
        self._networks[kind] = key, network
        return network


def _fingerprint(ref: CaseRef) -> str:
    try:
        return fingerprint(ref.load())
    except CaseError as error:
        return f"{ref.case_id}: {error.code}"


def _text(config: object, *more: object) -> str:
    return json.dumps([asdict(config), *more], sort_keys=True)  # type: ignore[call-overload]
