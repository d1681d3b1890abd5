"""Equation 1, second half: thresholds and non-maximum suppression turn the table into the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import remove_small_regions
from torchvision.ops.boxes import batched_nms, box_area

from salip_exp.cascade.candidates import Candidates, Floor, confident, joined, stable
from salip_exp.cascade.pool import Mask, Masks, Pool, concatenate, pack


@dataclass(frozen=True)
class Thresholds:
    """What selects among the rows of a table, with the names of SamAutomaticMaskGenerator."""

    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    box_nms_thresh: float = 0.7
    crop_nms_thresh: float = 0.7
    min_mask_region_area: int = 0

    @property
    def floor(self) -> Floor:
        """The quality that a row must have."""
        return Floor(self.pred_iou_thresh, self.stability_score_thresh)


@dataclass(frozen=True)
class Cleaned:
    """Masks without small holes and islands, and which of them had any, bool (N,)."""

    masks: Masks
    changed: NDArray[np.bool_]


_Cleaner = Callable[[Masks, int], Cleaned]
"""`clean_masks`, or the same with a memory."""


def suppress(boxes: NDArray[np.int64], scores: torch.Tensor, threshold: float) -> NDArray[np.int64]:
    """Rows left by box non-maximum suppression, best score first, ties in the order of the rows."""
    coordinates = torch.as_tensor(boxes).float()
    kept = batched_nms(coordinates, scores, torch.zeros(len(boxes)), iou_threshold=threshold)
    rows: NDArray[np.int64] = kept.numpy()
    return rows


def clean_masks(masks: Masks, min_area: int) -> Cleaned:
    """Fill holes and drop islands smaller than `min_area` pixels."""
    parts = [pack(np.zeros((0, *masks.shape), bool))]
    changed = np.zeros(len(masks), dtype=bool)
    for row in range(len(masks)):
        cleaned, changed[row] = clean_mask(masks[row], min_area)
        parts.append(pack(cleaned[None]) if changed[row] else masks.select(np.array([row])))
    return Cleaned(concatenate(masks.shape, parts), changed)


def clean_mask(mask: Mask, min_area: int) -> tuple[Mask, bool]:
    """One mask without holes and islands smaller than `min_area` pixels, and whether it had any."""
    filled, had_holes = remove_small_regions(mask, min_area, mode="holes")
    cleaned, had_islands = remove_small_regions(filled, min_area, mode="islands")
    return cleaned, bool(had_holes or had_islands)


def select(table: Sequence[Candidates], thresholds: Thresholds, cleaner: _Cleaner = clean_masks) -> Candidates:
    """Survivors of the thresholds, of suppression within each crop box and, where there are several, across them.

    Args:
        table: the candidates of each crop box of one image, the whole image first.

    Returns:
        The rows in the reference's order; predicted IoU and stability stay those of the decoded mask.
    """
    chosen = joined(table[0].masks.shape, [_select_crop(part, thresholds) for part in table])
    if len(table) > 1:
        smaller_crops_first = 1 / box_area(torch.as_tensor(chosen.crop_boxes))
        chosen = chosen.select(suppress(chosen.boxes, smaller_crops_first, thresholds.crop_nms_thresh))
    if thresholds.min_mask_region_area > 0 and len(chosen):
        overlap = max(thresholds.box_nms_thresh, thresholds.crop_nms_thresh)
        return clean(chosen, cleaner(chosen.masks, thresholds.min_mask_region_area), overlap)
    return chosen


def clean(chosen: Candidates, cleaned: Cleaned, nms_thresh: float) -> Candidates:
    """Put the cleaned masks in place, then suppress what became a duplicate.

    Masks that needed no cleaning win over those that did.
    """
    boxes = cleaned.masks.boxes
    kept = suppress(boxes, torch.from_numpy(~cleaned.changed).float(), nms_thresh)
    # An unchanged mask keeps its box: that of an empty mask from a crop is the crop's corner, not the image's.
    boxes = np.where(cleaned.changed[:, None], boxes, chosen.boxes)
    return replace(chosen, masks=cleaned.masks, boxes=boxes).select(kept)


def pool_of(chosen: Candidates) -> Pool:
    """The pool of a case, with ids in this order."""
    return Pool(
        ids=np.arange(len(chosen), dtype=np.int64),
        masks=chosen.masks,
        boxes=chosen.boxes.astype(np.float32),
        areas=chosen.masks.areas,
        predicted_iou=chosen.predicted_iou,
        stability=chosen.stability,
    )


def _select_crop(part: Candidates, thresholds: Thresholds) -> Candidates:
    keep = confident(torch.from_numpy(part.predicted_iou), thresholds.pred_iou_thresh)
    keep &= stable(torch.from_numpy(part.stability), thresholds.stability_score_thresh)
    rows = part.select(keep.numpy())
    return rows.select(suppress(rows.boxes, torch.from_numpy(rows.predicted_iou), thresholds.box_nms_thresh))
