"""The trials of a study as plain rows, by number; and the best of them."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pandas as pd
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from salip_exp._tuning.database import Database
from salip_exp._tuning.objectives import OBJECTIVES
from salip_exp._tuning.space import Space, Values
from salip_exp._tuning.worker import OUTCOME, REASON, VALUES, WORK, Outcome
from salip_exp.cascade.work import Counters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialRow:
    """One finished trial.

    Attributes:
        value: of the study's objective; None where the trial failed.
        outcome: scores by image; empty where the trial failed before it had any.
        reason: why it failed.
        seconds: from claim to end.
        work: what the networks had to do for it, or for the worker that began with it.
    """

    number: int
    values: Values
    value: float | None
    outcome: Outcome
    reason: str | None
    seconds: float
    work: Counters = field(default_factory=Counters)


def read_trials(database: Database, space: Space, total: int) -> list[TrialRow]:
    """The finished trials below a total, by number."""
    return [_row(each, space) for each in database.finished(total)]


def _row(trial: FrozenTrial, space: Space) -> TrialRow:
    noted = trial.user_attrs.get(OUTCOME, {"images": {}, "statuses": {}})
    duration, setting = trial.duration, trial.user_attrs.get(VALUES, trial.params)
    return TrialRow(
        trial.number,
        {each.name: setting[each.name] for each in space.dimensions if each.name in setting},
        trial.value,
        Outcome(noted["images"], noted["statuses"]),
        trial.user_attrs.get(REASON),
        0.0 if duration is None else duration.total_seconds(),
        Counters(**trial.user_attrs.get(WORK, {})),
    )


@dataclass
class Best:
    """The best value so far, with its trial; of equals the first by number."""

    value: float | None = None
    number: int = 0

    def add(self, number: int, value: float | None) -> None:
        """Take one more trial; None is the value of one that failed."""
        if value is not None and (self.value is None or (value, -number) > (self.value, -self.number)):
            self.value, self.number = value, number

    def __str__(self) -> str:
        return "none has a value yet" if self.value is None else f"best {self.value:.4f} (trial {self.number})"


def _optuna_study(trials: Sequence[TrialRow], space: Space) -> optuna.Study:
    """The trials as a study in memory, for what Optuna computes and draws of one; but those outside of the space."""
    study = optuna.create_study(direction="maximize")
    for each in (one for one in trials if not one.values or space.holds(one.values)):
        state = TrialState.FAIL if each.value is None else TrialState.COMPLETE
        kinds = {one.name: one.distribution() for one in space.dimensions if one.name in each.values}
        study.add_trial(create_trial(state=state, value=each.value, params=each.values, distributions=kinds))
    return study


def importances(trials: Sequence[TrialRow], space: Space) -> dict[str, float]:
    """Share of each setting in what the best tenth of the trials have in common; empty where there is none.

    Optuna's PED-ANOVA, which has no random part.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few trials make all shares equal
            found = get_param_importances(_optuna_study(trials, space), evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError) as error:  # too few trials, or all of one value
        log.info("no importances: %s", error)
        return {}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def trial_table(trials: Sequence[TrialRow], space: Space) -> str:
    """`trials.csv`: a row per trial, nothing in it that depends on when or by whom a trial was run."""
    names = [each.name for each in space.dimensions]
    columns = ["trial", "state", "value", *names, *OBJECTIVES, "images", "statuses", "reason"]
    rows = map(_cells, trials)
    return pd.DataFrame(rows, columns=columns, dtype=object).to_csv(index=False, lineterminator="\n")


def _cells(trial: TrialRow) -> dict[str, Any]:
    outcome = trial.outcome
    return {
        "trial": trial.number,
        "state": "failed" if trial.value is None else "complete",
        "value": trial.value,
        **trial.values,
        **{name: outcome.mean(name) for name in OBJECTIVES},
        "images": len(outcome.images),
        "statuses": " ".join(f"{status}:{count}" for status, count in outcome.statuses.items()),
        "reason": trial.reason,
    }
