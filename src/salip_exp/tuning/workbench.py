"""The workbench that settings are tried on: the networks, the stage cache, and images in memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp.caching.store import Store
from salip_exp.cascade.counters import Counters
from salip_exp.config import AreaUnit, Config, Objective
from salip_exp.data.case import Case
from salip_exp.methods.picture import Picture
from salip_exp.methods.prediction import Method, Prediction
from salip_exp.methods.registry import build_method
from salip_exp.methods.sam_stages import SamStages
from salip_exp.models.clip import LoadedClip
from salip_exp.models.sam import LoadedSam
from salip_exp.tuning.objectives import score
from salip_exp.tuning.space import AREA

OBJECTIVES = tuple(str(each) for each in Objective)


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
    sam: LoadedSam
    clip: LoadedClip
    sentences: Sequence[str]
    store: Store
    work: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self._asked = SamStages(self.sam, self.store, Counters())  # for objectives that ask again

    def method(self, config: Config) -> Method:
        """The method of a configuration."""
        return build_method(config, self.sam, self.clip, self.sentences, self.store)

    def outcome(self, config: Config, cases: Iterable[Case], names: Sequence[str] = OBJECTIVES) -> Outcome:
        """The scores of a configuration on images; what it raises is the trial's failure."""
        method = self.method(config)
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

    def areas(self, cases: Sequence[Case]) -> tuple[float, float]:
        """Smallest and largest useful area threshold for the pools that the configuration gives on the images."""
        method = self.method(self.config)
        fraction = self.config.tuning.space.area.unit is AreaUnit.fraction
        found: list[float] = []
        for case in cases:
            pool = method.predict(case).pool
            size = case.image.shape[0] * case.image.shape[1]
            found += [] if pool is None else ((pool.areas + 1) / (size if fraction else 1)).tolist()
            low, high = (1 / size, 1.0) if fraction else (1.0, float(size))
        self.work = self.work + method.counters
        low, high = (min(found), max(found)) if found else (low, high)
        return (low, min(high, 1.0) if fraction else high) if low < high else (low / 2, high)

    def _scores(
        self, config: Config, case: Case, prediction: Prediction, names: Sequence[str]
    ) -> dict[str, float | None]:
        picture = Picture(case.image)

        def segment(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
            return self._asked.organ(picture, boxes, config.organ)

        k, empty = config.dataset.k, config.score.empty_target
        found = {name: score(name, prediction, case.mask, k, empty, segment) for name in names}
        return {name: None if math.isnan(value) else value for name, value in found.items()}


def applied(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with a setting in place of its own."""
    generator = {name.removeprefix("sam."): value for name, value in values.items() if name.startswith("sam.")}
    area = config.area
    if AREA in values:
        area = replace(area, threshold=float(values[AREA]), unit=config.tuning.space.area.unit)
    return replace(config, sam=replace(config.sam, **generator), area=area)


def tried(config: Config, values: Mapping[str, Any]) -> Config:
    """As `applied`, with what trials alone have: the authors tune with another minimal region than they use."""
    whole = applied(config, values)
    minimum = config.tuning.min_mask_region_area
    return whole if minimum is None else replace(whole, sam=replace(whole.sam, min_mask_region_area=minimum))
