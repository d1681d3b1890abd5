"""The workbench that settings are tried on: the networks, the stage cache, and images in memory."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler

from salip_exp._runs.lab import Lab
from salip_exp._settings.tuning import AREA
from salip_exp._tuning.database import Claim, Database
from salip_exp._tuning.objectives import OBJECTIVES
from salip_exp._tuning.space import Space, Values
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.work import Counters
from salip_exp.config import AreaUnit, Config
from salip_exp.data.case import Case
from salip_exp.errors import CaseError, EnvironmentFault
from salip_exp.methods.base import Prediction


@dataclass(frozen=True)
class Outcome:
    """What a setting came to.

    Attributes:
        images: scores of every image, by id and objective; None for a score that is not there.
        statuses: how many predictions ended how.
    """

    images: dict[str, dict[str, float | None]]
    statuses: dict[str, int] = field(default_factory=dict)

    def mean(self, objective: str) -> float:
        """Mean over the images that have this score; NaN where none has."""
        found = [value for each in self.images.values() if (value := each.get(objective)) is not None]
        return math.fsum(found) / len(found) if found else math.nan


@dataclass
class Workbench:
    """Networks and cache around which every setting's method is built; a method costs next to nothing.

    Attributes:
        config: of the study; a setting replaces parts of it.
        work: what the networks had to do since it was last asked for.
    """

    config: Config
    lab: Lab
    work: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self._asked = self.lab.asked_sam(self.config)  # for objectives that ask again

    def outcome(self, config: Config, cases: Iterable[Case], names: Iterable[str] = OBJECTIVES) -> Outcome:
        """The scores of a configuration on images; what it raises is the trial's failure."""
        method = self.lab.method(config)
        images: dict[str, dict[str, float | None]] = {}
        statuses: Counter[str] = Counter()
        try:
            for case in cases:
                prediction = method.predict(case)
                statuses[str(prediction.status)] += 1
                images[case.case_id] = self._scores(config, case, prediction, names)
        finally:
            self.work = self.work + method.counters
        return Outcome(images, dict(sorted(statuses.items())))

    def take_work(self) -> Counters:
        """What the networks had to do since this was last asked."""
        taken, self.work = self.work, Counters()
        return taken

    def areas(self, cases: Sequence[Case], labelled: bool) -> tuple[float, float]:
        """Smallest and largest useful area threshold for the pools that the configuration gives on the images.

        With `tuning.space.area.above_targets`, and labels to tell it, none loses the ROI of an image for sure: the
        smallest is the largest area of a ROI, a target's over k.
        """
        method = self.lab.method(self.config)
        fraction = self.config.tuning.space.area.unit is AreaUnit.fraction
        found: list[float] = []
        for case in cases:
            pool = method.predict(case).pool
            size = case.image.shape[0] * case.image.shape[1]
            found += [] if pool is None else ((pool.areas + 1) / (size if fraction else 1)).tolist()
            low, high = (1 / size, 1.0) if fraction else (1.0, float(size))
        self.work = self.work + method.counters
        whole = high
        low, high = (min(found), max(found)) if found else (low, high)
        if labelled and self.config.tuning.space.area.above_targets:
            low = max(low, self._largest_roi(cases, fraction))
            high = high if low < high else whole
        return (low, min(high, 1.0) if fraction else high) if low < high else (low / 2, high)

    def _largest_roi(self, cases: Sequence[Case], fraction: bool) -> float:
        targets = [each.mask for each in cases if each.mask is not None]
        return max(float(each.mean() if fraction else each.sum()) for each in targets) / self.config.dataset.k

    def _scores(
        self, config: Config, case: Case, prediction: Prediction, names: Iterable[str]
    ) -> dict[str, float | None]:
        picture = Picture(case.image)

        def segment(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
            return self._asked.organ(picture, boxes, config.organ)

        found = {name: OBJECTIVES[name](prediction, case, config, segment) for name in names}
        return {name: None if math.isnan(value) else value for name, value in found.items()}


def applied(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with a setting in place of its own."""
    generator = {name.removeprefix("sam."): value for name, value in values.items() if name.startswith("sam.")}
    area = config.area
    if AREA in values:
        area = replace(area, threshold=float(values[AREA]), unit=config.tuning.space.area.unit)
    return replace(config, sam=replace(config.sam, **generator), area=area)


def configured(config: Config, space: Space) -> Values:
    """The setting that the configuration has itself; without an area threshold where the search has another unit."""
    values: Values = {}
    for name in (each.name for each in space.dimensions):
        if name != AREA:
            values[name] = getattr(config.sam, name.removeprefix("sam."))
        elif config.area.unit is config.tuning.space.area.unit:
            values[name] = config.area.threshold
    return values


def tried(config: Config, values: Mapping[str, Any]) -> Config:
    """As `applied`, with what trials alone have: the authors tune with another minimal region than they use."""
    whole = applied(config, values)
    minimum = config.tuning.min_mask_region_area
    return whole if minimum is None else replace(whole, sam=replace(whole.sam, min_mask_region_area=minimum))


log = logging.getLogger(__name__)
_PAUSE = 0.2  # seconds between looks at trials that others work on
OUTCOME, REASON, WORK, VALUES = "outcome", "reason", "work", "values"
"""What is noted of a trial besides its value: scores of its images, or why it has none, the networks' work, and its
setting where that was given, and so may lie outside of the space.

The work is all that the worker did since its trial before, so that the sum over trials is that of all processes.
"""

OnTrial = Callable[[int, float | None], None]
"""Is called with every finished trial: its number, and its value or None."""


@dataclass
class Worker:
    """What a worker needs.

    Attributes:
        config: of the study.
        workbench: to try settings on.
        cases: the tuning images.
        database: where the trials are.
        space: that is searched.
        sampler: gives a trial, by number, what proposes its setting.
        first: the setting of trial 0; None where the sampler proposes that, too.
        total: trials of the study.
    """

    config: Config
    workbench: Workbench
    cases: Sequence[Case]
    database: Database
    space: Space
    sampler: Callable[[int], BaseSampler]
    first: Values | None
    total: int

    def run(self, on_trial: OnTrial, stopped: Callable[[], bool] = lambda: False) -> int:
        """Finish trials until the study is complete, or `stopped` says so between two; how many this worker did.

        Raises:
            EnvironmentFault: the database, the cache or the disk stands in the way; the trial at hand waits again.
        """
        done = 0
        while not stopped():
            claim = self.database.claim(self.total)
            if claim is not None:
                on_trial(claim.number, self._finish(claim))
                done += 1
            elif self.database.unfinished(self.total):
                time.sleep(_PAUSE)
            else:
                break
        return done

    def _finish(self, claim: Claim) -> float | None:
        """Do a claimed trial; its value, None where it failed."""
        with self.database.holding(claim):
            with self.database.faults():
                values, noted = self._setting(claim)
            value, attributes = self._try(claim.number, values)
            self.database.finish(claim, value, noted | attributes | {WORK: self.workbench.take_work().to_dict()})
        return value

    def _setting(self, claim: Claim) -> tuple[Values, dict[str, Any]]:
        """The setting of a claimed trial, and what is noted of it; Optuna knows those alone that its space holds."""
        trial = self.database.trial(claim, self.sampler(claim.number))
        given = self.first if claim.number == 0 else None
        if given is None or self.space.holds(given):
            return {each.name: each.suggest(trial) for each in self.space.dimensions}, {}
        return given, {VALUES: given}

    def _try(self, number: int, values: Values) -> tuple[float | None, dict[str, Any]]:
        """The trial's value and what is noted with it; a setting that fails is noted with its reason."""
        try:
            outcome = self.workbench.outcome(tried(self.config, values), self.cases)
        except EnvironmentFault:
            raise
        except CaseError as error:
            return None, {REASON: f"{error.code}: {error}"}
        except Exception as error:
            log.exception("trial %d", number)
            return None, {REASON: f"{type(error).__name__}: {error}"}
        value = outcome.mean(self.config.tuning.objective)
        if math.isnan(value):
            return None, {REASON: f"no image has a score ({self.config.tuning.objective})", OUTCOME: asdict(outcome)}
        return value, {OUTCOME: asdict(outcome)}
