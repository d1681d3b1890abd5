"""What makes a prediction good: DSC, or a measure of confidence (`evaluation._confidence`), which needs no target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Config, EmptyTarget, Objective
from salip_exp.data.case import Case
from salip_exp.evaluation._confidence import SIGNALS, Measure, Segment
from salip_exp.evaluation.metrics import dice
from salip_exp.methods.base import Prediction

_Objective = Callable[[Prediction, Case, Config, Segment], float]


def dsc(prediction: Prediction, target: NDArray[np.bool_] | None, empty: EmptyTarget) -> float:
    """Dice of the final mask with the target; NaN without a target, or where an empty one has no score."""
    return math.nan if target is None else dice(prediction.mask, target, empty)


def _without_target(measure: Measure) -> _Objective:
    return lambda found, case, config, segment: measure(found, config.dataset.k, segment)


OBJECTIVES: Mapping[str, _Objective] = {
    "dsc": lambda found, case, config, segment: dsc(found, case.mask, config.score.empty_target),
    **{name: _without_target(signal.measure) for name, signal in SIGNALS.items() if name in list(Objective)},
}
"""By name, what is one for the prediction of a case."""
