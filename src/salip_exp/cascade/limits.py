"""How much segment-everything mode asks of SAM for one image, before anything is computed."""

from __future__ import annotations

MASKS_PER_POINT = 3
MAX_CANDIDATES = 2_000_000
"""Masks that SAM may be asked for in one image; 32 points a side are 3,072."""


def crop_boxes(layer: int) -> int:
    """Crop boxes of a layer: 1, 4, 16, ..."""
    return 1 << 2 * layer


def points(points_per_side: int, layer: int, downscale: int) -> int:
    """Points of the grid of a layer's crop boxes, as `build_all_layer_point_grids` of segment_anything has it."""
    return int(points_per_side / downscale**layer) ** 2


def most_candidates(points_per_side: int, crop_n_layers: int, downscale: int) -> int:
    """Masks that SAM decodes at most: three for each point of every crop box."""
    layers = range(crop_n_layers + 1)
    return MASKS_PER_POINT * sum(crop_boxes(layer) * points(points_per_side, layer, downscale) for layer in layers)
