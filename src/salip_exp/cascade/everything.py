"""Equation 1: segment-everything mode, exactly as `segment_anything.SamAutomaticMaskGenerator` does it.

decode -> table of candidates -> thresholds and suppression -> small regions -> pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import build_all_layer_point_grids, coco_encode_rle, mask_to_rle_pytorch

from salip_exp.cascade.candidates import Candidates, Sampling, candidates
from salip_exp.cascade.embedding import Embedding, embed
from salip_exp.cascade.options import no_point
from salip_exp.cascade.pool import Mask
from salip_exp.cascade.selection import Thresholds, select
from salip_exp.cascade.work import Counters
from salip_exp.config import SamConfig
from salip_exp.errors import ConfigError
from salip_exp.networks.packages import Sam

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
