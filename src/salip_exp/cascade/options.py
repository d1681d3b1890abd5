"""What may be asked of the cascade, known before anything that computes is imported: sizes of grids, kinds of views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from salip_exp.config import ViewConfig
from salip_exp.plugins import Catalogue

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]  # x0 y0 x1 y1 as the pool gives it, far edges inclusive

MASKS_PER_POINT = 3
_MAX_CANDIDATES = 2_000_000
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


def no_point(key: str, points_per_side: int, crop_n_layers: int, downscale: int) -> Iterator[str]:
    """A sentence for a grid of which the smallest crops have no point; none for any other.

    Args:
        key: that sets the points, for the sentence.
    """
    if not points(points_per_side, crop_n_layers, downscale):
        yield (
            f"{key}={points_per_side} leaves no point in crop layer {crop_n_layers}: with "
            f"sam.crop_n_points_downscale_factor={downscale} it must be at least {downscale**crop_n_layers}"
        )


def too_many(key: str, points_per_side: int, crop_n_layers: int, downscale: int) -> Iterator[str]:
    """A sentence for a grid that asks for more masks than an image may; none for any other."""
    candidates = most_candidates(points_per_side, crop_n_layers, downscale)
    if candidates > _MAX_CANDIDATES:
        yield (
            f"{key}={points_per_side} with sam.crop_n_layers={crop_n_layers} asks SAM for {candidates:,} candidates "
            f"per image: the limit is {_MAX_CANDIDATES:,}; take fewer points or layers, or a larger "
            "sam.crop_n_points_downscale_factor"
        )


@dataclass(frozen=True)
class ViewKind:
    """A kind of view; an installed package gives one under the entry point `salip_exp.views`.

    Attributes:
        draw: makes the picture, uint8 RGB of any size, from an image (H, W, 3), a candidate's mask (H, W), its box and
            the section `view` of the configuration.
        settings: the keys of that section that the picture depends on, beside `kind` and `fit`; cached results are
            found by them.
        revision: raised when the same settings come to give another picture, so that results of before are not taken.
    """

    draw: Callable[[Image, Mask, Box, ViewConfig], Image]
    settings: tuple[str, ...] = ()
    revision: int = 1

    def __post_init__(self) -> None:
        for name in set(self.settings) - {each.name for each in fields(ViewConfig)}:
            raise ValueError(f"view.{name} is not a key of the configuration")


VIEWS = Catalogue(
    "views",
    ViewKind,
    {
        name: f"salip_exp.cascade.views:{name.upper()}"
        for name in ("crop", "crop_expand", "box", "contour", "reverse_blur")
    },
)


def origin_of_view(kind: str) -> tuple[str, ...]:
    """What a view depends on beside its settings: the package that gives it, if one does, and a later revision."""
    revision = VIEWS[kind].revision
    return (*VIEWS.origin(kind), *([f"revision {revision}"] if revision > 1 else []))
