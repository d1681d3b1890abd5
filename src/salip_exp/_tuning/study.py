"""A study from its configuration to its trials: tuning images, networks, search space, database, workers."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np

from salip_exp._runs._identity import Identity, read_identity
from salip_exp._runs.lab import Lab, Loaded
from salip_exp._runs.records import fingerprint, recipe
from salip_exp._settings.folders import File
from salip_exp._settings.tuning import sampler_of
from salip_exp._tuning.database import Database, studies_in
from salip_exp._tuning.space import Space, Values, samplers, space_of
from salip_exp._tuning.worker import Workbench, Worker, configured
from salip_exp.config import Config, Objective, Sampler
from salip_exp.data._left_out import LeftOut, by_reason
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.errors import CaseError, DataError, EnvironmentFault

log = logging.getLogger(__name__)


def order(refs: Sequence[CaseRef], seed: Sequence[int]) -> list[int]:
    """Positions of all references: one of every group, groups in random order, then a second of every group, ...

    In a group those of a subject that was not there yet come first.
    """
    rng = np.random.default_rng(list(seed))
    groups: dict[str, list[int]] = {}
    for position in rng.permutation(len(refs)).tolist():
        groups.setdefault(refs[position].group, []).append(position)
    names = sorted(groups)
    turns = [_spread_out(groups[names[i]], refs) for i in rng.permutation(len(names)).tolist()]
    longest = max((len(each) for each in turns), default=0)
    return [each[i] for i in range(longest) for each in turns if i < len(each)]


def _spread_out(positions: Sequence[int], refs: Sequence[CaseRef]) -> list[int]:
    """The same positions: the first of every subject, then the second of every subject, ..."""
    before: Counter[str] = Counter()
    turns: dict[int, list[int]] = {}
    for position in positions:
        turns.setdefault(before[refs[position].subject], []).append(position)
        before[refs[position].subject] += 1
    return [position for turn in sorted(turns) for position in turns[turn]]


def draw(
    refs: Sequence[CaseRef], n: int, seed: Sequence[int], labelled: bool, faults: dict[str, str] | None = None
) -> tuple[Case, ...]:
    """The first n images of the order that can be read and, where labels are needed, have a target; sorted as the data.

    Args:
        refs: of the whole data set.
        n: how many.
        seed: of the order.
        labelled: an image without a target, or with an empty one, says nothing about a setting.
        faults: is told, by id, what cannot be read.

    Raises:
        DataError: there are no n such images.
    """
    found: dict[int, Case] = {}
    for position in order(refs, seed):
        if len(found) == n:
            break
        try:
            case = refs[position].load()
        except CaseError as error:
            log.warning("%s is no tuning image: %s %s", refs[position].case_id, error.code, error)
            if faults is not None:
                faults[refs[position].case_id] = f"{error.code}: {error}"
            continue
        if not labelled or (case.mask is not None and case.mask.any()):
            found[position] = case
    if len(found) < n:
        what = "images with a target" if labelled else "images that can be read"
        raise DataError(
            f"tuning.images={n} cannot be drawn: there are {len(found)} {what} among {len(refs)}; take fewer, "
            "or an objective that needs no target (tuning.objective=agreement)"
        )
    return tuple(found[position] for position in sorted(found))


VERSION = 1


@dataclass(frozen=True)
class Study:
    """A study that can be worked on.

    Attributes:
        workbench: to try settings on.
        dataset: all images.
        images: the tuning images, in the order of the data.
        loaded: the networks that the method asks.
        space: that is searched.
        first: the setting of trial 0; None where the sampler proposes that, too.
        name: the same for the same study, on whatever machine.
        total: number of trials.
        url: of its database.
        faults: why images could not be read, by id; more may be met when the winner is judged.
        of_0_1_0: it was begun by 0.1.0, which drew trial 0 too, and area thresholds below the targets.
    """

    config: Config
    workbench: Workbench
    dataset: Dataset
    images: tuple[Case, ...]
    loaded: Loaded
    space: Space
    first: Values | None
    name: str
    total: int
    url: str
    faults: dict[str, str] = field(default_factory=dict)
    of_0_1_0: bool = False

    @property
    def left_out(self) -> list[LeftOut]:
        """What the study does not go over, by reason."""
        return [*self.dataset.left_out, *by_reason(self.faults.items())]

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Ids of the tuning images."""
        return tuple(each.case_id for each in self.images)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Those of the tuning images, each once."""
        return tuple(dict.fromkeys(each.subject for each in self.images))

    @property
    def identity(self) -> Identity:
        """What its folder is of."""
        return Identity("study", {"study": self.name}, list(self.image_ids))

    def worker(self, database: Database) -> Worker:
        """A worker of this process."""
        sampler = samplers(sampler_of(self.config), self.space, self.config.seed, self.first)
        return Worker(self.config, self.workbench, self.images, database, self.space, sampler, self.first, self.total)


def make_study(config: Config, folder: Path, lab: Lab) -> Study:
    """Everything but the trials; two machines with the same configuration and data make the same study.

    Raises:
        DataError, WeightsError, ConfigError, EnvironmentFault: what is missing or wrong.
    """
    lab.store(config.cache)  # first: a folder that cannot be written must not cost a model's loading
    dataset = lab.dataset(config)
    faults: dict[str, str] = {}
    images = draw(dataset.refs, config.tuning.images, [config.seed], labelled(config), faults)
    loaded, workbench = lab.loaded(config), Workbench(config, lab)
    areas = workbench.areas(images, labelled(config)) if config.tuning.space.area.pools else None
    space = space_of(config.tuning.space, areas)
    first = configured(config, space) if config.tuning.configured_first else None
    total = config.tuning.n_trials
    if _is_grid(config):
        total = min(total, (space.size or 1) + (first is not None))
    url = config.tuning.storage or f"sqlite:///{(folder / File.database).absolute()}"
    name = study_name(config, loaded, images, space, first)
    return Study(config, workbench, dataset, images, loaded, space, first, name, total, url, faults)


def begun_study(config: Config, folder: Path, lab: Lab) -> Study:
    """The study of a configuration; where its database has it as 0.1.0 began it, that one, to be continued.

    Raises:
        EnvironmentFault: the folder's own database holds another study alone.
        DataError, WeightsError, ConfigError: as `make_study` does.
    """
    study = make_study(config, folder, lab)
    known = studies_in(study.url, config.tuning.lock_wait_s)
    if study.name in known or not known:
        return study
    before = make_study(_as_in_0_1_0(config), folder, lab)
    if before.name in known:
        return replace(before, of_0_1_0=True)
    if config.tuning.storage is None and read_identity(folder) is None:  # that would say more
        raise EnvironmentFault(
            f"{folder} holds another study ({', '.join(known)}), of other data, settings or tuning images: delete it, "
            "or tune elsewhere by hydra.run.dir=DIR"
        )
    return study


def _as_in_0_1_0(config: Config) -> Config:
    """The same search without what was not there then: all trials are drawn, with thresholds below the targets, too."""
    tuning = config.tuning
    area = replace(tuning.space.area, above_targets=False)
    return replace(config, tuning=replace(tuning, configured_first=False, space=replace(tuning.space, area=area)))


def study_name(config: Config, loaded: Loaded, images: Sequence[Case], space: Space, first: Values | None) -> str:
    """Data set and sampler, with a hash over all that a trial's value depends on; the number of trials is no part."""
    made_of = [
        VERSION,
        version("optuna") if sampler_of(config) is Sampler.tpe else None,  # its proposals change with its versions
        recipe(config, loaded.hashes, loaded.sentences, loaded.device),
        [fingerprint(case) for case in images],
        space.to_dict(),
        [sampler_of(config), config.seed, config.tuning.objective],
        [config.tuning.min_mask_region_area, config.tuning.space.area.unit],
        *([] if first is None else [first]),  # without one, studies of 0.1.0 have their name
    ]
    digest = sha256(json.dumps(made_of).encode()).hexdigest()
    return f"{config.dataset.name}-{sampler_of(config)}-{digest[:12]}"


def labelled(config: Config) -> bool:
    """Whether the objective needs targets."""
    return config.tuning.objective is Objective.dsc


def _is_grid(config: Config) -> bool:
    return sampler_of(config) is Sampler.grid
