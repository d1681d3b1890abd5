"""What a trial tries: by its number alone (random, grid), or by what Optuna learned from the others (tpe)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from salip_exp.config import Sampler
from salip_exp.tuning.space import Space, Values


class Tables(Protocol):
    """Optuna's storage and study, as `Database` has them."""

    storage: Any
    study: Any


class Proposal(Protocol):
    """Gives a trial of a study its setting."""

    def __call__(self, tables: Tables, trial_id: int, number: int) -> Values: ...


class Planned:
    """Random search and grid: the setting of a trial depends on seed and number only, whoever runs it and when."""

    def __init__(self, space: Space, seed: int, grid: bool) -> None:
        self.space, self.seed = space, seed
        self.order = np.random.default_rng(seed).permutation(space.size or 0) if grid else None

    def values(self, number: int) -> Values:
        """The setting of a trial."""
        if self.order is None:
            return self.space.draw(self.seed, number)
        return self.space.combination(int(self.order[number]))

    def __call__(self, tables: Tables, trial_id: int, number: int) -> Values:
        """Note the setting in Optuna's tables."""
        values = self.values(number)
        for each in self.space.dimensions:
            distribution = each.distribution()
            internal = distribution.to_internal_repr(values[each.name])
            tables.storage.set_trial_param(trial_id, each.name, internal, distribution)
        return values


class Learned:
    """Optuna's TPE; a trial's random numbers come from seed and number, so that resuming repeats none."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed

    def __call__(self, tables: Tables, trial_id: int, number: int) -> Values:
        """Ask the sampler, which sees every trial that is finished."""
        from optuna.samplers import TPESampler
        from optuna.trial import Trial

        seed = int(np.random.default_rng([self.seed, number]).integers(2**32))
        tables.study.get_trials(deepcopy=False)  # Optuna's cache does not know trials that it has not read
        tables.study.sampler = TPESampler(seed=seed)
        trial = Trial(tables.study, trial_id)
        return {each.name: each.suggest(trial) for each in self.space.dimensions}


def proposal(sampler: Sampler, space: Space, seed: int) -> Proposal:
    """How the trials of a study get their settings."""
    if sampler is Sampler.tpe:
        return Learned(space, seed)
    return Planned(space, seed, sampler is Sampler.grid)
