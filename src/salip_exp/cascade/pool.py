"""The pool: every candidate of one case, as row-aligned arrays that keep their identity; and equation 2, its filter."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.masks import Masks
from salip_exp.config import AreaConfig, AreaUnit


@dataclass(frozen=True)
class Pool:
    """Candidates in the order segment-everything mode gave them; row i of every array is one candidate.

    Attributes:
        ids: int64 (N,), position in the full pool; kept by `select`, so that a crop never meets another's mask.
        masks: N masks, packed; `masks[i]` is bool (H, W).
        boxes: float32 (N, 4), x0 y0 x1 y1 with inclusive far edges, in pixels of the case.
        areas: int64 (N,), pixels.
        predicted_iou: float32 (N,), SAM's own estimate.
        stability: float32 (N,), stability score.
    """

    ids: NDArray[np.int64]
    masks: Masks
    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Pool:
        """The candidates of the given rows (boolean keep mask, or positions in the wished order)."""
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "masks"}
        return replace(self, **arrays, masks=self.masks.select(rows))


def candidate_ious(pool: Pool, rois: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every ROI (rows) with every candidate (columns): float64 (R, N), for ROIs bool (R, H, W)."""
    return mask_ious(pool.masks, pool.areas, rois)


def mask_ious(masks: Masks, areas: NDArray[np.int64], rois: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every ROI (rows) with every mask (columns), whose areas are known: float64 (R, N)."""
    rows = []
    for roi in rois:
        both = masks.intersections(roi)
        rows.append(both / (areas + roi.sum() - both))
    return np.stack(rows)


def keep_small(pool: Pool, config: AreaConfig) -> Pool:
    """Candidates whose area is strictly smaller than the threshold (a fraction of the image, or pixels)."""
    if not config.enabled:
        return pool
    height, width = pool.masks.shape
    pixels = config.threshold * height * width if config.unit == AreaUnit.fraction else config.threshold
    return pool.select(pool.areas < pixels)
