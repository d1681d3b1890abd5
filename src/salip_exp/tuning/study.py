"""A study from its configuration to its trials: images, networks, search space, database, workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from salip_exp.caching.store import open_store
from salip_exp.config import Config, Objective, Sampler
from salip_exp.data.case import Dataset
from salip_exp.errors import ConfigError
from salip_exp.running.identity import fingerprint, recipe
from salip_exp.tuning.check import sampler_of
from salip_exp.tuning.database import Database
from salip_exp.tuning.proposals import proposal
from salip_exp.tuning.sampling import Drawn, draw
from salip_exp.tuning.space import Space, space_of
from salip_exp.tuning.work import Worker
from salip_exp.tuning.workbench import Workbench

VERSION = 1
DATABASE = "study.db"


@dataclass(frozen=True)
class Material:
    """What a study is made from.

    Attributes:
        workbench: networks and cache.
        dataset: all images.
        drawn: the tuning images.
        weights: name and SHA-256 of each network.
        device: where the networks run.
    """

    workbench: Workbench
    dataset: Dataset
    drawn: Drawn
    weights: dict[str, tuple[str, str]] = field(default_factory=dict)
    device: str = "cpu"


Gather = Callable[[Config], Material]


def gather(config: Config) -> Material:
    """Open the data set, draw the tuning images, load the networks.

    Raises:
        DataError, WeightsError, ConfigError, EnvironmentFault: what is missing or wrong.
    """
    from salip_exp.data.registry import open_dataset
    from salip_exp.running.runner import load_networks

    store = open_store(config.cache)
    dataset = open_dataset(config.dataset, config.seed)
    drawn = draw(dataset.refs, config.tuning.images, [config.seed], labelled(config))
    networks = load_networks(config)
    if networks.sam is None or networks.clip is None:
        raise ConfigError(f"method={config.method} cannot be tuned: use method=salip or sam_clip")
    workbench = Workbench(config, networks.sam, networks.clip, networks.sentences, store)
    return Material(workbench, dataset, drawn, networks.names, networks.device)


@dataclass(frozen=True)
class Study:
    """A study that can be worked on.

    Attributes:
        name: the same for the same study, on whatever machine.
        total: number of trials.
        url: of its database.
    """

    config: Config
    material: Material
    space: Space
    name: str
    total: int
    url: str

    def worker(self, database: Database) -> Worker:
        """A worker of this process."""
        plan = proposal(sampler_of(self.config), self.space, self.config.seed)
        return Worker(self.config, self.material.workbench, self.material.drawn.cases, database, plan, self.total)


def make_study(config: Config, folder: Path, gather: Gather = gather) -> Study:
    """Everything but the trials; two machines with the same configuration and data make the same study.

    Raises:
        DataError, WeightsError, ConfigError, EnvironmentFault: what is missing or wrong.
    """
    material = gather(config)
    areas = material.workbench.areas(material.drawn.cases) if config.tuning.space.area.pools else None
    space = space_of(config.tuning.space, areas)
    total = min(config.tuning.n_trials, space.size or 1) if _is_grid(config) else config.tuning.n_trials
    url = config.tuning.storage or f"sqlite:///{(folder / DATABASE).absolute()}"
    return Study(config, material, space, study_name(config, material, space), total, url)


def study_name(config: Config, material: Material, space: Space) -> str:
    """Data set and sampler, with a hash over all that a trial's value depends on; the number of trials is no part."""
    hashes = {network: sha for network, (_, sha) in material.weights.items()}
    made_of = [
        VERSION,
        version("optuna") if sampler_of(config) is Sampler.tpe else None,  # its proposals change with its versions
        recipe(config, hashes, material.workbench.sentences, material.device),
        [fingerprint(case) for case in material.drawn.cases],
        space.to_dict(),
        [sampler_of(config), config.seed, config.tuning.objective],
        [config.tuning.min_mask_region_area, config.tuning.space.area.unit],
    ]
    digest = sha256(json.dumps(made_of).encode()).hexdigest()
    return f"{config.dataset.name}-{sampler_of(config)}-{digest[:12]}"


def labelled(config: Config) -> bool:
    """Whether the objective needs targets."""
    return config.tuning.objective is Objective.dsc


def _is_grid(config: Config) -> bool:
    return sampler_of(config) is Sampler.grid
