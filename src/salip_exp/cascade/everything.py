"""Segment-everything mode (equation 1): the table of candidates, selected as the public package selects, and the
generator that gives exactly what `segment_anything.SamAutomaticMaskGenerator` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import (
    build_all_layer_point_grids,
    coco_encode_rle,
    mask_to_rle_pytorch,
    remove_small_regions,
)
from torchvision.ops.boxes import batched_nms, box_area

from salip_exp.cascade.candidates import Candidates, Floor, Sampling, candidates, confident, joined, stable
from salip_exp.cascade.embedding import Embedding, embed
from salip_exp.cascade.options import no_point
from salip_exp.cascade.pool import Mask, Masks, Pool, concatenate, pack
from salip_exp.cascade.work import Counters
from salip_exp.config import SamConfig
from salip_exp.errors import ConfigError
from salip_exp.networks.packages import Sam


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
"""`_clean_masks`, or the same with a memory."""


def suppress(boxes: NDArray[np.int64], scores: torch.Tensor, threshold: float) -> NDArray[np.int64]:
    """Rows left by box non-maximum suppression, best score first, ties in the order of the rows."""
    coordinates = torch.as_tensor(boxes).float()
    kept = batched_nms(coordinates, scores, torch.zeros(len(boxes)), iou_threshold=threshold)
    rows: NDArray[np.int64] = kept.numpy()
    return rows


def _clean_masks(masks: Masks, min_area: int) -> Cleaned:
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


def select(table: Sequence[Candidates], thresholds: Thresholds, cleaner: _Cleaner = _clean_masks) -> Candidates:
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


_OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


def sampling_of(config: SamConfig) -> Sampling:
    """The grids and settings that decide the table of candidates.

    Raises:
        ConfigError: a crop layer would be left without a point.
    """
    grids = point_grids(config.points_per_side, config.crop_n_layers, config.crop_n_points_downscale_factor)
    return Sampling(grids, config.points_per_batch, config.stability_score_offset)


def thresholds_of(config: SamConfig) -> Thresholds:
    """What selects among the rows of the table."""
    return Thresholds(
        pred_iou_thresh=config.pred_iou_thresh,
        stability_score_thresh=config.stability_score_thresh,
        box_nms_thresh=config.box_nms_thresh,
        crop_nms_thresh=config.crop_nms_thresh,
        min_mask_region_area=config.min_mask_region_area,
    )


def find(
    net: Sam, embeddings: Sequence[Embedding], sampling: Sampling, thresholds: Thresholds, counters: Counters
) -> Candidates:
    """Build the table with no more rows than these thresholds can keep, and select from it."""
    table = [candidates(net, each, sampling, counters, thresholds.floor) for each in embeddings]
    return select(table, thresholds)


def point_grids(points_per_side: int, crop_n_layers: int, downscale: int) -> list[NDArray[np.float64]]:
    """Regular grids of prompts for every crop layer, float64 (g * g, 2) in [0, 1].

    Raises:
        ConfigError: a layer would be left without a point.
    """
    for sentence in no_point("sam.points_per_side", points_per_side, crop_n_layers, downscale):
        raise ConfigError(sentence)
    grids: list[NDArray[np.float64]] = build_all_layer_point_grids(points_per_side, crop_n_layers, downscale)
    return grids


class MaskGenerator:
    """Drop-in for `segment_anything.SamAutomaticMaskGenerator`: same keywords, same records, in the same order.

    Masks, boxes and scores are bit-identical in float32 on CPU for the same settings. Where the reference raises
    because no mask survives in any crop, `generate` returns an empty list.
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
    ) -> None:
        if output_mode not in _OUTPUT_MODES:
            raise ConfigError(f"output_mode={output_mode!r} is unknown: use one of {', '.join(_OUTPUT_MODES)}.")
        grids = _grids(points_per_side, point_grids, crop_n_layers, crop_n_points_downscale_factor)
        self.net = model
        self.crop_n_layers = crop_n_layers
        self.crop_overlap_ratio = crop_overlap_ratio
        self.sampling = Sampling(grids, points_per_batch, stability_score_offset)
        self.thresholds = Thresholds(
            pred_iou_thresh, stability_score_thresh, box_nms_thresh, crop_nms_thresh, min_mask_region_area
        )
        self.output_mode = output_mode
        self.counters = Counters()

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Records of every mask of an image.

        Args:
            image: uint8 (H, W, 3).

        Returns:
            One for each mask, with segmentation (bool (H, W), or an RLE), area, bbox (x y w h), predicted_iou,
            point_coords, stability_score, crop_box (x y w h).
        """
        embeddings = embed(self.net, image, self.counters, self.crop_n_layers, self.crop_overlap_ratio)
        chosen = find(self.net, embeddings, self.sampling, self.thresholds, self.counters)
        return [self._record(chosen, row, int(area)) for row, area in enumerate(chosen.masks.areas)]

    def _record(self, chosen: Candidates, row: int, area: int) -> dict[str, Any]:
        return {
            "segmentation": _encoded(chosen.masks[row], self.output_mode),
            "area": area,
            "bbox": _xywh(chosen.boxes[row]),
            "predicted_iou": chosen.predicted_iou[row].item(),
            "point_coords": [chosen.points[row].tolist()],
            "stability_score": chosen.stability[row].item(),
            "crop_box": _xywh(chosen.crop_boxes[row]),
        }


def _grids(
    points_per_side: int | None, given: Sequence[NDArray[np.float64]] | None, crop_n_layers: int, downscale: int
) -> Sequence[NDArray[np.float64]]:
    if (points_per_side is None) == (given is None):
        raise ConfigError("points_per_side and point_grids exclude each other: give exactly one, the other as None.")
    if given is None:
        assert points_per_side is not None
        return point_grids(points_per_side, crop_n_layers, downscale)
    if len(given) <= crop_n_layers:
        raise ConfigError(
            f"point_grids has {len(given)} grids but crop_n_layers={crop_n_layers} needs {crop_n_layers + 1}: "
            "give one for the whole image and one per crop layer."
        )
    return given


def _encoded(mask: Mask, output_mode: str) -> Mask | dict[str, Any]:
    if output_mode == "binary_mask":
        return mask
    rle: dict[str, Any] = mask_to_rle_pytorch(torch.from_numpy(mask)[None])[0]
    return rle if output_mode == "uncompressed_rle" else coco_encode_rle(rle)


def _xywh(box: NDArray[np.int64]) -> list[int]:
    x0, y0, x1, y1 = box.tolist()
    return [x0, y0, x1 - x0, y1 - y0]
