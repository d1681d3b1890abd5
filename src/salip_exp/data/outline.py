"""Annotation outlines to filled regions: holes filled, or, where the outline leaves the frame, an ellipse fitted."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp.config import Fill

Mask = NDArray[np.bool_]
OUTLINE = 0.2
"""An annotation that covers less than this share of what it encloses is an outline."""


def filled(annotation: Mask, fill: Fill) -> tuple[Mask, tuple[str, ...]]:
    """The region that an annotation (H, W) means, and notes on how it was made.

    Under `auto` only outlines are filled; under `never` an outline stays, and a note says so.
    """
    ellipse = _fitted(annotation)
    if ellipse is None:
        return annotation, ()
    if fill is not Fill.always and annotation.sum() >= OUTLINE * ellipse.sum():
        return annotation, ()
    if fill is Fill.never:
        return annotation, ("the mask is an outline and was not filled",)
    region = np.asarray(ndimage.binary_fill_holes(annotation))
    if region.sum() >= 0.8 * ellipse.sum():
        return region, ("outline filled",)
    return ellipse, ("outline is open or leaves the frame: ellipse fitted",)


def fit_ellipse(annotation: Mask) -> tuple[tuple[float, float], tuple[float, float], float] | None:
    """Centre (x, y), full axes and angle in degrees of the ellipse through an outline; None for too few pixels."""
    rows, columns = np.nonzero(annotation)
    if len(rows) < 5 or len(np.unique(rows)) < 3 or len(np.unique(columns)) < 3:
        return None
    points = np.stack([columns, rows], axis=1).astype(np.float32)
    centre, axes, angle = cv2.fitEllipseDirect(points)
    ellipse = ((float(centre[0]), float(centre[1])), (float(axes[0]), float(axes[1])), float(angle))
    return ellipse if np.isfinite([*centre, *axes, angle]).all() and min(axes) > 0 else None


def _fitted(annotation: Mask) -> Mask | None:
    """The fitted ellipse, filled and clipped to the frame."""
    ellipse = fit_ellipse(annotation)
    if ellipse is None or max(ellipse[1]) > 10 * max(annotation.shape):
        return None
    canvas = np.zeros(annotation.shape, np.uint8)
    cv2.ellipse(canvas, ellipse, 1, -1)
    return canvas > 0
