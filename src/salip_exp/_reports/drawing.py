"""What pictures share: colours, outlines, dashed boxes, lines of coloured words. Colours are apart for all eyes.

Pixels are uint8 RGB; masks are brought to the size of the pixels that they are drawn on.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from salip_exp.cascade.pool import Pool

Color = tuple[int, int, int]

TARGET, PREDICTION, BOX = (0, 200, 140), (255, 140, 0), (240, 240, 240)
PAPER, INK, FAINT = (24, 24, 27), (235, 235, 235), (165, 165, 172)
LINE, DASH, TEXT = 2, 8, 13
# Okabe and Ito (2008), in an order that keeps neighbours apart.
CANDIDATES: tuple[Color, ...] = (
    (86, 180, 233),
    (240, 228, 66),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
)
VEIL = 0.45  # share of a candidate's colour in the pixels that it covers


def resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """An image at another size: averaged where it shrinks, interpolated where it grows."""
    shrinks = width < image.shape[1]
    flag = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.array(cv2.resize(image, (width, height), interpolation=flag), dtype=np.uint8)


def fitted(mask: NDArray[np.bool_], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask at the size of the pixels, 0 and 1."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def outline(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], color: Color, width: int = LINE) -> None:
    """Draw the edges of a mask, those of its holes too, into the pixels."""
    contours, _ = cv2.findContours(fitted(mask, pixels), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(pixels, contours, -1, color, width)


def veil(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], color: Color) -> None:
    """Lay a colour over a mask, with its edge in the full colour, into the pixels."""
    inside = fitted(mask, pixels).view(bool)
    pixels[inside] = np.round((1 - VEIL) * pixels[inside] + VEIL * np.array(color)).astype(np.uint8)
    outline(pixels, mask, color, 1)


def candidates(pixels: NDArray[np.uint8], pool: Pool) -> None:
    """Lay all candidates over the pixels, large ones first, so that small ones stay in sight."""
    for row in np.argsort(-pool.areas, kind="stable"):
        veil(pixels, pool.masks[row], candidate_color(int(pool.ids[row])))


def candidate_color(number: int) -> Color:
    """The colour of a candidate by its id, the same in every panel."""
    return CANDIDATES[number % len(CANDIDATES)]


def dashed(pen: ImageDraw.ImageDraw, box: Sequence[float], factor: float) -> None:
    """Draw a box, x0 y0 x1 y1 with inclusive far edges, where every pixel of the image is `factor` pixels wide.

    Light dashes on a dark line: one of them is seen on any ground.
    """
    x0, y0 = box[0] * factor, box[1] * factor
    x1, y1 = max(x0, (box[2] + 1) * factor - 1), max(y0, (box[3] + 1) * factor - 1)
    pen.rectangle((x0, y0, x1, y1), outline=PAPER)
    for x in np.arange(x0, x1, 2 * DASH):
        for y in (y0, y1):
            pen.line([(x, y), (min(x + DASH, x1), y)], BOX, 1)
    for y in np.arange(y0, y1, 2 * DASH):
        for x in (x0, x1):
            pen.line([(x, y), (x, min(y + DASH, y1))], BOX, 1)


def words(pen: ImageDraw.ImageDraw, x: float, y: float, parts: Sequence[tuple[str, Color]], size: int = TEXT) -> None:
    """Write words of several colours in one line; what the font lacks becomes a question mark."""
    font = ImageFont.load_default(size)
    for text, color in parts:
        plain = text.encode("ascii", "replace").decode()
        pen.text((x, y), plain, color, font)
        x += pen.textlength(plain, font)
