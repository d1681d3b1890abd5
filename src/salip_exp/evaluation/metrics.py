"""How well a predicted mask agrees with its target: Dice, IoU, 95 % Hausdorff distance and surface Dice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, binary_fill_holes, distance_transform_edt

from salip_exp.config import EmptyTarget
from salip_exp.data._regions import components, fit_ellipse
from salip_exp.errors import CaseError
from salip_exp.evaluation._surfaces import sizes

_BOTH_EMPTY = {EmptyTarget.skip: math.nan, EmptyTarget.one: 1.0, EmptyTarget.zero: 0.0}
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
        return 2 * self.both / total if total else _BOTH_EMPTY[empty]

    def iou(self, empty: EmptyTarget = EmptyTarget.skip) -> float:
        """|P and T| / |P or T|; 0 if only one of them is empty, by policy (NaN for skip) if both are."""
        union = self.predicted + self.target - self.both
        return self.both / union if union else _BOTH_EMPTY[empty]

    @property
    def precision(self) -> float | None:
        """|P and T| / |P|; None where nothing is predicted."""
        return self.both / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """|P and T| / |T|; None without a target."""
        return self.both / self.target if self.target else None


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


def hd95(prediction: NDArray[np.bool_], target: NDArray[np.bool_], spacing: tuple[float, ...] | None) -> float:
    """95th percentile of the distances between the two outlines, the larger of both directions.

        max(P95 of min |p - t| over t for every p, P95 of min |p - t| over p for every t)

    Distances are those between centres of `outline` pixels, each pixel counted once, as in MONAI (equal but for its
    float32). The `surface-distance` package weighs them by length of outline and differs by a fraction of a pixel.

    Args:
        prediction: bool (H, W), or (X, Y, Z) of a volume.
        target: bool of the same shape.
        spacing: millimetres per pixel (row, column), or per voxel.

    Returns:
        Millimetres; NaN where a mask is empty or the spacing is unknown, since a distance in pixels is no distance.
    """
    if spacing is None or not prediction.any() or not target.any():
        return math.nan
    mine, theirs = outline(prediction), outline(target)
    there = distance_transform_edt(~theirs, sampling=spacing)[mine]
    back = distance_transform_edt(~mine, sampling=spacing)[theirs]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def surface_dice(
    prediction: NDArray[np.bool_],
    target: NDArray[np.bool_],
    spacing: tuple[float, ...] | None,
    tolerance_mm: float,
    empty: EmptyTarget = EmptyTarget.skip,
) -> float:
    """The share of both outlines, by length, that lies within a tolerance of the other one (NSD, Nikolov 2018).

        (|outline of P within tolerance of T's| + |outline of T within tolerance of P's|) / (|both outlines|)

    Outlines run through the corners of pixels, by marching squares, and their lengths are in millimetres: this is what
    the `surface-distance` package does, and MONAI with `use_subvoxels=True` (equal to rounding). MONAI's default counts
    edge pixels instead, whatever the length they stand for; on ellipses it differs by some hundredths.

    Of volumes it is the share of both surfaces, by area, by marching cubes. `surface-distance` cuts bent polygons into
    other triangles; on organs it differs by less than a hundredth.

    Args:
        prediction: bool (H, W), or (X, Y, Z) of a volume.
        target: bool of the same shape.
        spacing: millimetres per pixel (row, column), or per voxel.
        tolerance_mm: distance up to which outlines agree.

    Returns:
        0 to 1; 0 if only one mask is empty, by policy (NaN for skip) if both are; NaN where the spacing is unknown.
    """
    if spacing is None:
        return math.nan
    if not (prediction.any() and target.any()):
        return 0.0 if prediction.any() or target.any() else _BOTH_EMPTY[empty]
    mine, theirs = sizes(prediction, spacing), sizes(target, spacing)
    near_theirs = distance_transform_edt(theirs == 0, sampling=spacing) <= tolerance_mm
    near_mine = distance_transform_edt(mine == 0, sampling=spacing) <= tolerance_mm
    return float((mine[near_theirs].sum() + theirs[near_mine].sum()) / (mine.sum() + theirs.sum()))


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask's pixels with a 4-neighbour (voxels: 6) outside it; beyond the frame is outside."""
    edge: NDArray[np.bool_] = mask & ~binary_erosion(mask)
    return edge


FACT = "head_circumference_mm"
"""Name of the data set's own value among the facts of a case."""


def head_circumference(mask: NDArray[np.bool_], spacing: tuple[float, float] | None) -> float | None:
    """Perimeter in millimetres of the ellipse fitted to the largest component of a mask.

    Holes are filled. The outline runs between pixels of the mask and their neighbours outside it; one through the
    centres of the mask's pixels lies half a pixel inside, which is pi pixels less. Where the mask meets the frame there
    is none: there the picture ends, and not the head.

    Args:
        mask: bool (H, W).
        spacing: millimetres per pixel (row, column).

    Returns:
        None where the spacing is unknown or no ellipse can be fitted.
    """
    if spacing is None or not mask.any():
        return None
    points = _between(np.asarray(binary_fill_holes(components(mask, 1)[0]))) * spacing
    ellipse = fit_ellipse(points[:, ::-1], max(np.multiply(mask.shape, spacing)))
    return None if ellipse is None else _perimeter(*ellipse[1])


def _between(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Middles of the sides that pixels of a mask share with pixels outside it, float64 (N, 2), row and column."""
    upright = np.argwhere(mask[:, 1:] != mask[:, :-1]) + np.array([0.0, 0.5])
    level = np.argwhere(mask[1:] != mask[:-1]) + np.array([0.5, 0.0])
    return np.concatenate([upright, level])


def _perimeter(width: float, height: float) -> float:
    """Circumference of an ellipse from its full axes: Ramanujan's second approximation (1914).

        pi (a + b) (1 + 3 h / (10 + sqrt(4 - 3 h))),  h = ((a - b) / (a + b))^2,  a and b the half axes

    Its relative error is below 1e-4 up to flat ellipses of 1 : 20, and below 1e-9 for heads (1 : 1.5).
    """
    total = (width + height) / 2
    h = ((width - height) / (width + height)) ** 2
    return math.pi * total * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))
