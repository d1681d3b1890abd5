"""Regions of a mask: components, ROIs, one side of a pair of organs; and outlines turned into filled regions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp.config import Fill, Side


def components(mask: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """The 8-connected components of a mask (H, W), at most so many: bool (n, H, W), the largest first."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    largest = sorted(range(1, n), key=lambda label: (-stats[label, cv2.CC_STAT_AREA], label))[:most]
    found: NDArray[np.bool_] = labels[None] == np.array(largest, dtype=labels.dtype)[:, None, None]
    return found


def regions(target: NDArray[np.bool_], k: int, least: int = 1) -> NDArray[np.bool_]:
    """The ROIs of a target that is not empty: bool (1 to k, H, W), the largest first.

    They are its k largest components, without specks of less than `least` pixels unless all are; with k = 1 the whole
    target is the one ROI, whatever it consists of.
    """
    if k == 1:
        return target[None]
    found = components(target, k)
    return found[: max(1, int((found.sum(axis=(1, 2)) >= least).sum()))]


def loses_regions(target: NDArray[np.bool_], resized: NDArray[np.bool_]) -> bool:
    """Whether some 8-connected components of a target (H, W), but not all, have no pixel left in it at (h, w)."""
    if target.shape == resized.shape or not resized.any():
        return False
    n, labels = cv2.connectedComponents(target.astype(np.uint8), connectivity=8)
    places = (np.arange(was) * now // was for was, now in zip(target.shape, resized.shape, strict=True))
    return len(np.unique(labels[target & resized[np.ix_(*places)]])) < n - 1


_MOST = 256

"""Components that are looked at, the largest; what is left beyond them are specks of no side."""


def one_side(mask: NDArray[np.bool_], side: Side) -> NDArray[np.bool_]:
    """The part of a target (H, W) that is the patient's right or left organ; all of it for `both`.

    The patient faces us, so his right lies in the left half of the picture. A component belongs to the half that its
    centroid lies in. Where there is one component alone, its pixels are divided between the halves: organs that touch
    are told apart, and a single one stays whole where it does not reach over the middle. Empty for a side without any.
    """
    if side is Side.both:
        return mask
    middle = (mask.shape[1] - 1) / 2
    columns = np.arange(mask.shape[1])
    wanted = columns < middle if side is Side.right else columns >= middle
    parts = components(mask, _MOST)
    if len(parts) < 2:
        return np.asarray(mask & wanted)
    of_side = np.zeros_like(mask)
    for part in parts:
        centroid = float(columns @ part.sum(axis=0)) / int(part.sum())
        if (centroid < middle) is (side is Side.right):
            of_side |= part
    return of_side


Mask = NDArray[np.bool_]

_OUTLINE = 0.2

"""An annotation that covers less than this share of what it encloses is an outline."""

_LARGEST = 10.0

"""An ellipse with an axis longer than so many frames is no ellipse that anyone drew."""


def filled(annotation: Mask, fill: Fill) -> tuple[Mask, tuple[str, ...]]:
    """The region that an annotation (H, W) means, and notes on how it was made.

    Under `auto` only outlines are filled; under `never` an outline stays, and a note says so.
    """
    ellipse = _fitted(annotation)
    if ellipse is None:
        return annotation, ()
    if fill is not Fill.always and annotation.sum() >= _OUTLINE * ellipse.sum():
        return annotation, ()
    if fill is Fill.never:
        return annotation, ("the mask is an outline and was not filled",)
    region = np.asarray(ndimage.binary_fill_holes(annotation))
    if region.sum() >= 0.8 * ellipse.sum():
        return region, ("outline filled",)
    return ellipse, ("outline is open or leaves the frame: ellipse fitted",)


def fit_ellipse(
    points: NDArray[np.float64], frame: float
) -> tuple[tuple[float, float], tuple[float, float], float] | None:
    """Centre (x, y), full axes and angle in degrees of the ellipse through points (N, 2), x y.

    None for too few points, or for an arc so flat that its ellipse is ten times the frame. The fit is direct least
    squares (Fitzgibbon 1999), which gives an ellipse for any points.

    Args:
        frame: longer side of the image, in the units of the points.
    """
    if len(points) < 5 or min(len(np.unique(each)) for each in points.T) < 3:
        return None
    centre, axes, angle = cv2.fitEllipseDirect(points.astype(np.float32))
    ellipse = ((float(centre[0]), float(centre[1])), (float(axes[0]), float(axes[1])), float(angle))
    usable = np.isfinite([*centre, *axes, angle]).all() and min(axes) > 0 and max(axes) <= _LARGEST * frame
    return ellipse if usable else None


def _fitted(annotation: Mask) -> Mask | None:
    """The ellipse through the pixels of an outline, filled and clipped to the frame."""
    ellipse = fit_ellipse(np.argwhere(annotation)[:, ::-1].astype(np.float64), max(annotation.shape))
    if ellipse is None:
        return None
    canvas = np.zeros(annotation.shape, np.uint8)
    cv2.ellipse(canvas, ellipse, 1, -1)
    return canvas > 0
