"""Equation 3: the picture of each candidate that CLIP is shown."""

from __future__ import annotations

import cv2
import numpy as np

from salip_exp.cascade.options import VIEWS, Box, Image, Mask, ViewKind, origin_of_view
from salip_exp.cascade.pool import Pool
from salip_exp.config import ViewConfig

VEIL = (124, 116, 104)  # the authors' grey, laid at one half over what is outside the box
_BLUR_SHARE = 1 / 25  # sigma of the true blur, of the longest side


def settings_of(config: ViewConfig) -> tuple[object, ...]:
    """What a view of this kind depends on, and nothing that it does not; of another package, its version too."""
    values = (getattr(config, name) for name in VIEWS[config.kind].settings)
    return config.kind, str(config.fit), *origin_of_view(config.kind), *values


def viewable(pool: Pool, config: ViewConfig) -> Pool:
    """Candidates of which a view can be made: those with a pixel inside their box.

    Empty masks are dropped and, where the box's far edges do not belong to it, masks one pixel wide or high. They go
    by row, with everything that belongs to them, so that no view ever meets another candidate's mask.
    """
    keep = pool.areas > 0
    if not config.inclusive:
        extent = pool.boxes[:, 2:] - pool.boxes[:, :2]
        keep &= (extent > 0).all(axis=1)
    return pool.select(keep)


def views(image: Image, pool: Pool, config: ViewConfig) -> list[Image]:
    """One uint8 RGB picture per candidate, row by row; the pool must have passed `viewable`.

    Args:
        image: uint8 (H, W, 3) RGB.

    Returns:
        Pictures of the candidate's box (crop, crop_expand) or of the whole image (box, contour, reverse_blur).
    """
    draw = VIEWS[config.kind].draw
    boxes = pool.boxes.astype(int).tolist()
    return [draw(image, mask, tuple(box), config) for mask, box in zip(pool.masks, boxes, strict=True)]


def _crop(image: Image, mask: Mask, box: Box, config: ViewConfig) -> Image:
    window = _window(box, config.inclusive)
    return image[window] * mask[window][:, :, None]


def _crop_expand(image: Image, mask: Mask, box: Box, config: ViewConfig) -> Image:
    return image[_window(_grown(box, config.margin), config.inclusive)]


def _box(image: Image, mask: Mask, box: Box, config: ViewConfig) -> Image:
    x0, y0, x1, y1 = box
    return np.asarray(cv2.rectangle(image.copy(), (x0, y0), (x1, y1), config.color, config.box_width), np.uint8)


def _contour(image: Image, mask: Mask, box: Box, config: ViewConfig) -> Image:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(image.copy(), outlines, -1, config.color, config.contour_width), np.uint8)


def _reverse_blur(image: Image, mask: Mask, box: Box, config: ViewConfig) -> Image:
    return _blurred_outside(image, mask) if config.true_blur else _veiled_outside(image, box)


def _window(box: Box, inclusive: bool) -> tuple[slice, slice]:
    """Rows and columns of a box; parts left of or above the frame are cut off, those beyond it numpy cuts off."""
    x0, y0, x1, y1 = box
    return slice(max(y0, 0), y1 + inclusive), slice(max(x0, 0), x1 + inclusive)


def _grown(box: Box, margin: int) -> Box:
    x0, y0, x1, y1 = box
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


def _veiled_outside(image: Image, box: Box) -> Image:
    window = _window(box, inclusive=True)
    veil = np.broadcast_to(np.array(VEIL, np.uint8), image.shape)
    veiled = np.asarray(cv2.addWeighted(veil, 0.5, image, 0.5, 0.0), np.uint8)
    veiled[window] = image[window]
    return veiled


def _blurred_outside(image: Image, mask: Mask) -> Image:
    blurred = cv2.GaussianBlur(image, (0, 0), _BLUR_SHARE * max(mask.shape))
    return np.where(mask[:, :, None], image, blurred)


CROP = ViewKind(_crop, ("inclusive",))
CROP_EXPAND = ViewKind(_crop_expand, ("inclusive", "margin"))
# Revision 2: lines as cv2 draws them; before, by a brush of so many pixels.
BOX = ViewKind(_box, ("box_width", "color"), revision=2)
CONTOUR = ViewKind(_contour, ("contour_width", "color"), revision=2)
# Revision 2: the box's far edges are not veiled, whatever view.inclusive says of crops.
REVERSE_BLUR = ViewKind(_reverse_blur, ("true_blur",), revision=2)
