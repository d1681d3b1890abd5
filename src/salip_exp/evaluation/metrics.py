"""How well a predicted mask agrees with its target: Dice, IoU and the 95 % Hausdorff distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from salip_exp.config import EmptyTarget
from salip_exp.errors import CaseError

BOTH_EMPTY = {EmptyTarget.skip: math.nan, EmptyTarget.one: 1.0, EmptyTarget.zero: 0.0}
"""The score of an empty prediction of an empty target; NaN leaves the case out of every mean."""


@dataclass(frozen=True)
class Overlap:
    """Pixel counts that Dice and IoU are made of; those of the slices of a volume add up.

    Attributes:
        both: pixels in prediction and target.
        predicted: pixels in the prediction.
        target: pixels in the target.
    """

    both: int
    predicted: int
    target: int

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.predicted + other.predicted, self.target + other.target)

    def dice(self, empty: EmptyTarget = EmptyTarget.skip) -> float:
        """2 |P and T| / (|P| + |T|); 0 if only one of them is empty, by policy (NaN for skip) if both are."""
        total = self.predicted + self.target
        return 2 * self.both / total if total else BOTH_EMPTY[empty]

    def iou(self, empty: EmptyTarget = EmptyTarget.skip) -> float:
        """|P and T| / |P or T|; 0 if only one of them is empty, by policy (NaN for skip) if both are."""
        union = self.predicted + self.target - self.both
        return self.both / union if union else BOTH_EMPTY[empty]


def overlap(prediction: NDArray[np.bool_], target: NDArray[np.bool_]) -> Overlap:
    """Pixel counts of two bool masks (H, W).

    Raises:
        CaseError: E_SHAPE, their shapes differ; nothing is ever broadcast.
    """
    if prediction.shape != target.shape:
        raise CaseError(
            "E_SHAPE", f"the prediction is {prediction.shape} and the target {target.shape}: same size needed"
        )
    return Overlap(int((prediction & target).sum()), int(prediction.sum()), int(target.sum()))


def dice(prediction: NDArray[np.bool_], target: NDArray[np.bool_], empty: EmptyTarget = EmptyTarget.skip) -> float:
    """Dice similarity coefficient of two bool masks (H, W); empty masks as in `Overlap.dice`."""
    return overlap(prediction, target).dice(empty)


def iou(prediction: NDArray[np.bool_], target: NDArray[np.bool_], empty: EmptyTarget = EmptyTarget.skip) -> float:
    """Foreground intersection over union of two bool masks (H, W); empty masks as in `Overlap.iou`."""
    return overlap(prediction, target).iou(empty)


def hd95(prediction: NDArray[np.bool_], target: NDArray[np.bool_], spacing: tuple[float, float] | None) -> float:
    """95th percentile of the distances between the two outlines, the larger of both directions.

    An outline is the mask's pixels with a 4-neighbour outside it; beyond the frame is outside.

    Args:
        prediction: bool (H, W).
        target: bool (H, W).
        spacing: millimetres per pixel (row, column).

    Returns:
        Millimetres; NaN where a mask is empty or the spacing is unknown, since a distance in pixels is no distance.
    """
    if spacing is None or not prediction.any() or not target.any():
        return math.nan
    mine, theirs = _outline(prediction), _outline(target)
    there = distance_transform_edt(~theirs, sampling=spacing)[mine]
    back = distance_transform_edt(~mine, sampling=spacing)[theirs]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    outline: NDArray[np.bool_] = mask & ~binary_erosion(mask)
    return outline
