"""Equation 1, second half: thresholds and non-maximum suppression turn the table into the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import batched_mask_to_box, remove_small_regions
from torchvision.ops.boxes import batched_nms, box_area

from salip_exp.cascade.candidates import Candidates, Floor, confident, stable
from salip_exp.cascade.pool import Pool


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
class Selection:
    """The surviving candidates in the reference's order.

    Attributes:
        masks: bool (N, H, W).
        boxes: int64 (N, 4), x0 y0 x1 y1 with inclusive far edges, in pixels of the image.
        predicted_iou: float32 (N,), of the mask as decoded.
        stability: float32 (N,), of the mask as decoded.
        points: float64 (N, 2), x y of the prompt.
        crop_boxes: int64 (N, 4), x0 y0 x1 y1, far edges exclusive.
    """

    masks: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    points: NDArray[np.float64]
    crop_boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.masks)

    def select(self, rows: NDArray[np.int64]) -> Selection:
        """The given rows, in the given order."""
        return Selection(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each mask, int64 (N,)."""
        areas: NDArray[np.int64] = self.masks.sum(axis=(1, 2), dtype=np.int64)
        return areas

    def pool(self) -> Pool:
        """The pool of a case, with ids in this order."""
        return Pool(
            ids=np.arange(len(self), dtype=np.int64),
            masks=self.masks,
            boxes=self.boxes.astype(np.float32),
            areas=self.areas,
            predicted_iou=self.predicted_iou,
            stability=self.stability,
        )


def suppress(boxes: NDArray[np.int64], scores: torch.Tensor, threshold: float) -> NDArray[np.int64]:
    """Rows left by box non-maximum suppression, best score first, ties in the order of the rows."""
    coordinates = torch.as_tensor(boxes).float()
    kept = batched_nms(coordinates, scores, torch.zeros(len(boxes)), iou_threshold=threshold)
    rows: NDArray[np.int64] = kept.numpy()
    return rows


def select(table: Sequence[Candidates], thresholds: Thresholds) -> Selection:
    """Survivors of the thresholds, of suppression within each crop box and, where there are several, across them.

    Args:
        table: the candidates of each crop box of one image, the whole image first.
    """
    parts = [_select_crop(part, thresholds) for part in table]
    places = [(part, row) for part in parts for row in range(len(part.rows))]
    crop_boxes = np.array([part.crop_box for part, _ in places], dtype=np.int64).reshape(-1, 4)
    boxes = np.concatenate([part.rows.boxes for part in parts])
    order = np.arange(len(places))
    if len(table) > 1:
        smaller_crops_first = 1 / box_area(torch.as_tensor(crop_boxes))
        order = suppress(boxes, smaller_crops_first, thresholds.crop_nms_thresh)
    masks = np.zeros((len(order), *table[0].image_size), dtype=bool)
    for position, place in enumerate(order):
        part, row = places[place]
        masks[position] = part.mask(row)
    chosen = Selection(
        masks=masks,
        boxes=boxes[order],
        predicted_iou=np.concatenate([part.rows.predicted_iou for part in parts])[order],
        stability=np.concatenate([part.rows.stability for part in parts])[order],
        points=np.concatenate([part.rows.points for part in parts])[order],
        crop_boxes=crop_boxes[order],
    )
    if thresholds.min_mask_region_area > 0 and len(chosen):
        overlap = max(thresholds.box_nms_thresh, thresholds.crop_nms_thresh)
        return clean(chosen, thresholds.min_mask_region_area, overlap)
    return chosen


def clean(selection: Selection, min_area: int, nms_thresh: float) -> Selection:
    """Fill holes and drop islands smaller than `min_area` pixels, then suppress what became a duplicate.

    Masks that needed no cleaning win over those that did. Predicted IoU and stability stay those of the decoded mask.
    """
    masks = np.empty_like(selection.masks)
    changed = np.zeros(len(selection), dtype=bool)
    for row, mask in enumerate(selection.masks):
        filled, had_holes = remove_small_regions(mask, min_area, mode="holes")
        masks[row], had_islands = remove_small_regions(filled, min_area, mode="islands")
        changed[row] = had_holes or had_islands
    boxes = batched_mask_to_box(torch.from_numpy(masks)).numpy()
    kept = suppress(boxes, torch.from_numpy(~changed).float(), nms_thresh)
    # An unchanged mask keeps its box: that of an empty mask from a crop is the crop's corner, not the image's.
    boxes = np.where(changed[:, None], boxes, selection.boxes)
    cleaned = Selection(
        masks, boxes, selection.predicted_iou, selection.stability, selection.points, selection.crop_boxes
    )
    return cleaned.select(kept)


def _select_crop(part: Candidates, thresholds: Thresholds) -> Candidates:
    rows = part.rows
    keep = confident(torch.from_numpy(rows.predicted_iou), thresholds.pred_iou_thresh)
    keep &= stable(torch.from_numpy(rows.stability), thresholds.stability_score_thresh)
    rows = rows.select(keep.numpy())
    rows = rows.select(suppress(rows.boxes, torch.from_numpy(rows.predicted_iou), thresholds.box_nms_thresh))
    return Candidates(part.crop_box, part.image_size, rows)
