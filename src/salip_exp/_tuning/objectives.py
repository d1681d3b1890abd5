"""What makes a prediction good: DSC, and four guesses at it that need no target.

Each is a number in [0, 1] (`margin` in [-2, 2]) where more is better. The guesses count a ROI that was not found as 0:
they are averaged over the k ROIs that the image holds, so that finding one lung of two is never the safer choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Config, EmptyTarget
from salip_exp.data.case import Case
from salip_exp.evaluation._confidence import predicted_iou, selected
from salip_exp.evaluation.metrics import dice
from salip_exp.methods.base import Prediction

Segment = Callable[[NDArray[np.float32]], NDArray[np.bool_]]
"""SAM's mask for boxes (n, 4) in the image of the prediction."""
SHIFT = 0.05  # of a box's sides
MOVES = np.array([[-1, -1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1]], np.float32)
"""How the corners of a box move: out, in, up and left, down and right."""


def dsc(prediction: Prediction, target: NDArray[np.bool_] | None, empty: EmptyTarget) -> float:
    """Dice of the final mask with the target; NaN without a target, or where an empty one has no score."""
    return math.nan if target is None else dice(prediction.mask, target, empty)


def agreement(prediction: Prediction, k: int) -> float:
    """Dice of the final mask with the union of the retrieved candidates: SAM's two modes see the same thing."""
    found = selected(prediction)
    if not len(found):
        return 0.0
    union = np.logical_or.reduce(found.masks.dense(), axis=0)
    return _found(prediction, k) * _dice(prediction.mask, union)


def margin(prediction: Prediction, k: int) -> float:
    """CLIP's lowest score of a retrieved candidate above its best score of another; 0 where there is no other."""
    chosen = np.isin(prediction.kept_ids, np.asarray(prediction.selected_ids, np.int64))
    ours, others = prediction.kept_scores[chosen], prediction.kept_scores[~chosen]
    if not len(ours) or not len(others):
        return 0.0
    return _found(prediction, k) * (float(ours.min()) - float(others.max()))


def stability(prediction: Prediction, k: int, segment: Segment) -> float:
    """Mean Dice of the final mask with the masks that its boxes give when their corners move by 5 % of their sides."""
    if not len(prediction.boxes):
        return 0.0
    masks = [segment(boxes) for boxes in moved(prediction.boxes)]
    return _found(prediction, k) * float(np.mean([_dice(prediction.mask, mask) for mask in masks]))


def moved(boxes: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The boxes (n, 4) after each of MOVES."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return [(boxes + SHIFT * move * sides).astype(np.float32) for move in MOVES]


OBJECTIVES: Mapping[str, Callable[[Prediction, Case, Config, Segment], float]] = {
    "dsc": lambda found, case, config, segment: dsc(found, case.mask, config.score.empty_target),
    "agreement": lambda found, case, config, segment: agreement(found, config.dataset.k),
    "predicted_iou": lambda found, case, config, segment: predicted_iou(found, config.dataset.k),
    "margin": lambda found, case, config, segment: margin(found, config.dataset.k),
    "stability": lambda found, case, config, segment: stability(found, config.dataset.k, segment),
}
"""By name, what is one for the prediction of a case; SAM is asked again for `stability` alone."""


def _found(prediction: Prediction, k: int) -> float:
    return len(prediction.selected_ids) / k


def _dice(mine: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return dice(mine, other, EmptyTarget.zero)
