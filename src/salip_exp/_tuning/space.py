"""The search space: dimensions with what they may be, drawn from, listed, and told to Optuna."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, Trial

from salip_exp._settings.tuning import AREA, GENERATOR
from salip_exp.config import AreaSpace, RealSpace, Sampler, SpaceConfig, WholeSpace

_Number = int | float
Values = dict[str, _Number]
"""One setting by dimension: `sam.points_per_side`, ..., `area.threshold`."""


@dataclass(frozen=True)
class Dimension:
    """One setting with what it may be.

    Attributes:
        name: dotted, as in the configuration.
        whole: whether it takes whole numbers only.
        choices: the values it may take; empty for a range.
        low: of a range, allowed.
        high: of a range, allowed.
    """

    name: str
    whole: bool
    choices: tuple[_Number, ...] = ()
    low: _Number = 0
    high: _Number = 0

    def draw(self, rng: np.random.Generator) -> _Number:
        """A value, each as likely as the others."""
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        return float(rng.uniform(self.low, self.high))

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high)

    def holds(self, value: _Number) -> bool:
        """Whether a value could be drawn."""
        return value in self.choices if self.choices else self.low <= value <= self.high

    def suggest(self, trial: Trial) -> _Number:
        """What the sampler proposes to a trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high))
        return trial.suggest_float(self.name, self.low, self.high)


@dataclass(frozen=True)
class Space:
    """All dimensions, in the order in which they are drawn."""

    dimensions: tuple[Dimension, ...]

    def draw(self, seed: int, number: int) -> Values:
        """The random setting of one trial; it depends on the seed and the number, and on no other trial."""
        rng = np.random.default_rng([seed, number])
        return {each.name: each.draw(rng) for each in self.dimensions}

    @property
    def size(self) -> int | None:
        """How many settings there are; None where a range leaves no end of them."""
        if not all(each.choices for each in self.dimensions):
            return None
        return math.prod(len(each.choices) for each in self.dimensions)

    def combination(self, position: int) -> Values:
        """One of the `size` settings of a space of lists."""
        values: Values = {}
        for each in reversed(self.dimensions):
            position, index = divmod(position, len(each.choices))
            values[each.name] = each.choices[index]
        return {each.name: values[each.name] for each in self.dimensions}

    def holds(self, values: Values) -> bool:
        """Whether a setting of all dimensions is one that could be drawn."""
        return all(each.name in values and each.holds(values[each.name]) for each in self.dimensions)

    def to_dict(self) -> dict[str, Any]:
        """By dimension: its list, or the two ends of its range."""
        return {each.name: list(each.choices) or {"low": each.low, "high": each.high} for each in self.dimensions}


def space_of(config: SpaceConfig, areas: tuple[float, float] | None) -> Space:
    """The configured space, checked already.

    Args:
        areas: smallest and largest useful area threshold, where it is searched between those.
    """
    sections = [(f"sam.{name}", getattr(config, name)) for name in GENERATOR]
    found = [dimension(name, section) for name, section in (*sections, (AREA, config.area))]
    if areas is not None:
        found[-1] = Dimension(AREA, False, low=areas[0], high=areas[1])
    return Space(tuple(each for each in found if each is not None))


def dimension(name: str, section: WholeSpace | RealSpace | AreaSpace) -> Dimension | None:
    """The dimension of a section; None where it leaves its setting as it is."""
    whole = isinstance(section, WholeSpace)
    if section.choices is not None:
        return Dimension(name, whole, tuple(dict.fromkeys(section.choices)))
    if section.low is None or section.high is None:
        return None
    return Dimension(name, whole, low=section.low, high=section.high)


class Planned(BaseSampler):
    """Random search and grid: the setting of a trial depends on seed and number only, whoever runs it and when.

    Where trial 0 has a setting of its own, the combinations of a grid begin with trial 1.
    """

    def __init__(self, space: Space, seed: int, grid: bool, first: Values | None = None) -> None:
        self.space, self.seed, self.first = space, seed, first
        self.order = np.random.default_rng(seed).permutation(space.size or 0) if grid else None

    def values(self, number: int) -> Values:
        """The setting of a trial."""
        if self.first is not None and number == 0:
            return self.first
        if self.order is None:
            return self.space.draw(self.seed, number)
        return self.space.combination(int(self.order[number - (self.first is not None)]))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: no dimension waits for another."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> _Number:
        """The planned value of one dimension."""
        return self.values(trial.number)[param_name]


def samplers(sampler: Sampler, space: Space, seed: int, first: Values | None = None) -> Callable[[int], BaseSampler]:
    """What gives a trial, by number, the sampler that proposes its setting; resuming a study repeats no random number.

    TPE learns from every trial that is finished, and draws with seed and number.

    Args:
        first: the setting of trial 0, where it is given.
    """
    planned = Planned(space, seed, sampler is Sampler.grid, first)

    def sampler_of(number: int) -> BaseSampler:
        if sampler is not Sampler.tpe or (first is not None and number == 0):
            return planned
        return TPESampler(seed=int(np.random.default_rng([seed, number]).integers(2**32)))

    return sampler_of
