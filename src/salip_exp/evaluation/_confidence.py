"""How good a prediction is believed to be, by what SAM and CLIP say; no target is needed.

Each is a number in [0, 1] (`margin` in [-2, 2]) where more is better. A ROI that was not found counts as 0: they are
averaged over the k ROIs that the image holds, so that finding one lung of two is never the safer choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.pool import Pool
from salip_exp.config import EmptyTarget
from salip_exp.evaluation.metrics import dice
from salip_exp.methods.base import Prediction

Segment = Callable[[NDArray[np.float32]], NDArray[np.bool_]]
"""SAM's mask for boxes (n, 4) in the image of the prediction."""
Measure = Callable[[Prediction, int, Segment], float]
"""Of a prediction with a pool, for k ROIs."""
SHIFT = 0.05  # of a box's sides
MOVES = np.array([[-1, -1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1]], np.float32)
"""How the corners of a box move: out, in, up and left, down and right."""


def predicted_iou(prediction: Prediction, k: int) -> float:
    """Sum of SAM's own estimate for the retrieved candidates, over k: in [0, 1], a ROI that was not found counts 0."""
    return float(np.clip(_selected(prediction).predicted_iou, 0, 1).astype(np.float64).sum()) / k


def agreement(prediction: Prediction, k: int) -> float:
    """Dice of the final mask with the union of the retrieved candidates: SAM's two modes see the same thing."""
    found = _selected(prediction)
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


CONFIDENCE: Mapping[str, Measure] = {
    "agreement": lambda found, k, segment: agreement(found, k),
    "predicted_iou": lambda found, k, segment: predicted_iou(found, k),
    "margin": lambda found, k, segment: margin(found, k),
    "stability": stability,
}
"""By name; SAM is asked again for `stability` alone."""


def confidence(prediction: Prediction, k: int) -> dict[str, float]:
    """Every measure of a prediction by name; no `stability` where no boxes prompt SAM, and none without candidates.

    Raises:
        CaseError: SAM cannot be asked for its boxes, moved.
    """
    prompted = prediction.prompted
    names = [each for each in CONFIDENCE if prediction.pool is not None and (prompted or each != "stability")]

    def segment(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        assert prompted is not None
        return np.asarray(np.logical_or.reduce(prompted(boxes).dense(), axis=0), bool)

    return {name: CONFIDENCE[name](prediction, k, segment) for name in names}


def _selected(prediction: Prediction) -> Pool:
    """The retrieved candidates, in the order of the pool."""
    assert prediction.pool is not None  # whoever asks has a method with a pool
    return prediction.pool.select(np.isin(prediction.pool.ids, np.asarray(prediction.selected_ids, np.int64)))


def _found(prediction: Prediction, k: int) -> float:
    return len(prediction.selected_ids) / k


def _dice(mine: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return dice(mine, other, EmptyTarget.zero)
