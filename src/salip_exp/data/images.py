"""Image files to arrays: uint8 RGB pictures and boolean masks, never a grey half image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from salip_exp.errors import CaseError

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
MAX_PIXELS = 100_000_000
"""Larger images are refused before memory is taken."""
SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "F"}


def read_picture(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A picture as uint8 (H, W, 3) RGB, and notes on what was done to it.

    Deeper than 8 bits is windowed from its minimum to its maximum; palettes, grey and CMYK are converted, transparency
    is dropped.

    Raises:
        CaseError: E_READ, E_SIZE or E_NONFINITE.
    """
    pixels, mode = _pixels(path)
    if mode in SIXTEEN_BIT:
        return np.repeat(window(pixels.astype(np.float64), path)[:, :, None], 3, axis=2), ("windowed from 16 bit",)
    notes = ("alpha dropped",) if mode in ("RGBA", "LA", "PA", "P;A") else ()
    return np.ascontiguousarray(pixels), notes


def window(values: NDArray[np.float64], path: Path) -> NDArray[np.uint8]:
    """Numbers of any range as uint8, from minimum to maximum; a constant image is black."""
    if not np.isfinite(values).all():
        raise CaseError("E_NONFINITE", f"{path} holds NaN or infinite pixels: mend or remove the file.")
    low, high = values.min(), values.max()
    scale = 255 / (high - low) if high > low else 0.0
    return np.round((values - low) * scale).astype(np.uint8)


def read_mask(path: Path, label: int | None = None) -> NDArray[np.bool_]:
    """A mask (H, W): its upper half where it has two values (and grey between them), or one label of several.

    Grey levels between two extremes are edges of a resized mask and are cut at one half. Few small numbers are labels.

    Raises:
        CaseError: E_READ, E_SIZE, or E_LABELS for several labels of which none is chosen.
    """
    values, _ = _pixels(path, grey=True)
    return binary(values, path, label)


def binary(values: NDArray[np.generic], path: Path, label: int | None = None) -> NDArray[np.bool_]:
    """The target in an array of mask values; see `read_mask`."""
    numbers = np.asarray(values)
    if label is not None:
        return np.asarray(numbers == label)
    present = np.unique(numbers)
    if 2 < len(present) <= 32 and present.max() < 128 and np.all(present == np.round(present)):
        raise CaseError(
            "E_LABELS",
            f"{path} holds the labels {', '.join(f'{v:g}' for v in present if v)}: "
            "choose one with dataset.files.label=N.",
        )
    top = float(present.max())
    return np.asarray(numbers > top / 2) if top > 0 else np.zeros(numbers.shape, bool)


def _pixels(path: Path, grey: bool = False) -> tuple[NDArray[np.generic], str]:
    """Decoded pixels and the file's own mode."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CaseError(
                    "E_SIZE", f"{path} has {image.width} x {image.height} pixels: the limit is {MAX_PIXELS}."
                )
            mode = image.mode
            if mode == "P" and "transparency" in image.info:
                mode = "P;A"
            image.load()
            if mode in SIXTEEN_BIT:
                return np.asarray(image), mode
            return np.asarray(image.convert("L" if grey else "RGB")), mode
    except Image.DecompressionBombError as error:
        raise CaseError("E_SIZE", f"{path} is too large: {error}.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise CaseError(
            "E_READ", f"{path} cannot be read as an image ({_short(error)}): get the file again."
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
