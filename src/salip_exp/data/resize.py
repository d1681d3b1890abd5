"""Images and masks to working size, on the same grid."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Interpolation, Resize, ResizeMode

FLAGS = {Interpolation.area: cv2.INTER_AREA, Interpolation.bilinear: cv2.INTER_LINEAR}


def working_size(height: int, width: int, config: Resize) -> tuple[int, int]:
    """Height and width after resizing; at least one pixel each."""
    if config.mode is ResizeMode.native:
        return height, width
    if config.mode is ResizeMode.squash:
        return config.side, config.side
    scale = config.side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_image(image: NDArray[np.uint8], config: Resize) -> NDArray[np.uint8]:
    """A uint8 image (H, W, 3) at working size."""
    height, width = working_size(image.shape[0], image.shape[1], config)
    return np.asarray(_resampled(image, height, width, config), np.uint8)


def resize_mask(mask: NDArray[np.bool_], config: Resize) -> NDArray[np.bool_]:
    """A mask (H, W) at working size: a pixel belongs to it where half of what it covers does."""
    height, width = working_size(mask.shape[0], mask.shape[1], config)
    if (height, width) == mask.shape:
        return mask
    return np.asarray(_resampled(mask.astype(np.float32), height, width, config) >= 0.5)


def resized_spacing(
    spacing: tuple[float, float] | None, before: tuple[int, int], after: tuple[int, int]
) -> tuple[float, float] | None:
    """Millimetres per pixel (row, column) after resizing."""
    if spacing is None:
        return None
    return spacing[0] * before[0] / after[0], spacing[1] * before[1] / after[1]


def _resampled(array: NDArray[Any], height: int, width: int, config: Resize) -> NDArray[Any]:
    """Shrunk as configured, then grown bilinearly: averaging over areas means nothing where an image grows."""
    smaller = min(height, array.shape[0]), min(width, array.shape[1])
    for (rows, columns), flag in ((smaller, FLAGS[config.interpolation]), ((height, width), cv2.INTER_LINEAR)):
        if (rows, columns) != array.shape[:2]:
            array = cv2.resize(array, (columns, rows), interpolation=flag)
    return array
