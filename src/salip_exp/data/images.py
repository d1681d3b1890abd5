"""Image files to arrays: uint8 RGB pictures and boolean masks, never a grey half image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from salip_exp._files import PICTURE, TooLarge, open_file, read_file
from salip_exp.errors import CaseError

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
"""Whatever a file is called, no other decoder is tried on it."""
MAX_PIXELS = 100_000_000
"""Larger images are refused before memory is taken."""
_HUGE = 1e30
"""Numbers beyond it are no measurements: they are treated as infinite."""
_SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "F"}
_MAX_LABELS = 32
_COLOURED = 16
"""Colour channels that differ by more are a colour; less is the noise of JPEG."""


def read_picture(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A picture as uint8 (H, W, 3) RGB, and notes on what was done to it.

    Deeper than 8 bits is windowed from its minimum to its maximum; palettes, grey and CMYK are converted, transparency
    is dropped.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS for several frames, or E_NONFINITE.
    """
    pixels, transparent = _pixels(path, mask=False)
    notes = ("alpha dropped",) if transparent else ()
    if pixels.dtype != np.uint8:
        pixels, notes = window(pixels.astype(np.float64), path), ("windowed from 16 bit", *notes)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels, np.uint8), notes


def window(values: NDArray[np.float64], path: Path) -> NDArray[np.uint8]:
    """Numbers of any range as uint8, from minimum to maximum; a constant image is black."""
    if not finite(values).all():
        raise CaseError("E_NONFINITE", f"{path} holds NaN or infinite pixels: mend or remove the file.")
    low, high = values.min(), values.max()
    scale = 255 / (high - low) if high > low else 0.0
    return np.asarray(np.round((values - low) * scale), np.uint8)


def finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where numbers are neither NaN, infinite, nor absurdly large."""
    return np.asarray(np.abs(values) < _HUGE)


def read_mask(path: Path, label: int | None = None) -> NDArray[np.bool_]:
    """A mask (H, W): its upper half where it has two values (and grey between them), or one label of several.

    Grey levels between two extremes are edges of a resized mask and are cut at one half. Few small numbers, and levels
    that fill whole patches, are labels. A coloured palette is a list of labels; transparent is background.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS, E_NONFINITE, or E_LABELS for several labels of which none is chosen.
    """
    values, _ = _pixels(path, mask=True)
    return binary(values, path, label)


def binary(values: NDArray[Any], path: Path, label: int | None = None) -> NDArray[np.bool_]:
    """The target in an array of mask values; see `read_mask`."""
    if not finite(values).all():
        raise CaseError("E_NONFINITE", f"{path} holds NaN or infinite values: mend or remove the mask.")
    if label is not None:
        return np.asarray(values == label)
    marked = values[values != 0]
    if not marked.size or (marked == marked[0]).all():
        return np.asarray(values > 0)
    present = np.unique(values)
    if _are_labels(values, present):
        listed = ", ".join(f"{value:g}" for value in present if value)
        raise CaseError("E_LABELS", f"{path} holds the labels {listed}: choose one with dataset.files.label=N.")
    return np.asarray(values > max(present[-1] / 2, 0))


def _are_labels(values: NDArray[Any], present: NDArray[Any]) -> bool:
    if not 2 < len(present) <= _MAX_LABELS or not np.all(present == np.round(present)):
        return False
    if present[-1] < 128:
        return True
    if len(present) > 8:
        return False
    inner = ndimage.minimum_filter(values, 3) == ndimage.maximum_filter(values, 3)
    return bool(np.isin(values[inner], present[1:-1]).any())


def _pixels(path: Path, mask: bool) -> tuple[NDArray[Any], bool]:
    """Decoded pixels, uint8 or deeper, of a mask always (H, W); and whether some are meant to be transparent."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is refused here, or does not matter
            with open_file(path, PICTURE) as stream, Image.open(stream, formats=_FORMATS) as image:
                _require_one_of_fair_size(image, path)
                deep = image.mode not in _SIXTEEN_BIT and any(";16" in str(tile) for tile in image.tile)
                image.load()
                transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
                if mask:
                    return _mask_values(image, path), transparent
                return _deep_colours(path) if deep else _colours(image), transparent
    except CaseError:
        raise
    except (TooLarge, Image.DecompressionBombError) as error:
        raise CaseError("E_SIZE", f"{path} is too large: {error}.") from error
    except Exception as error:  # decoders raise almost anything on bytes they were not made for
        raise CaseError("E_READ", f"{path} cannot be read as an image ({short(error)}): get the file again.") from error


def _require_one_of_fair_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise CaseError("E_SIZE", f"{path} has {image.width} x {image.height} pixels: the limit is {MAX_PIXELS}.")
    if getattr(image, "is_animated", False):  # not their number, for which a chain of any length would be followed
        raise CaseError("E_DIMS", f"{path} holds several pictures: give one picture per file.")


def _colours(image: Image.Image) -> NDArray[Any]:
    return np.asarray(image if image.mode in _SIXTEEN_BIT else image.convert("RGB"))


def _deep_colours(path: Path) -> NDArray[Any]:
    """16-bit colours, of which Pillow would keep the upper byte alone."""
    pixels = cv2.imdecode(np.frombuffer(read_file(path, PICTURE), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("16-bit colours that OpenCV does not decode")
    return np.asarray(pixels if pixels.ndim == 2 else pixels[:, :, 2::-1])


def _mask_values(image: Image.Image, path: Path) -> NDArray[Any]:
    if image.mode in _SIXTEEN_BIT:
        return np.asarray(image)
    if image.mode == "P" and "transparency" not in image.info and _is_coloured(image):
        return np.asarray(image)
    if image.mode != "P" and _is_coloured(image) and len(image.convert("RGB").getcolors(3) or "many") > 2:
        raise CaseError("E_LABELS", f"{path} is a mask of several colours: save it as grey levels, one per label.")
    alpha = np.asarray(image.convert("RGBA"))[:, :, 3]
    return np.where(alpha >= 128, np.asarray(image.convert("L")), 0)


def _is_coloured(image: Image.Image) -> bool:
    colours = np.asarray(image.convert("RGB")).astype(np.int16)
    return bool((colours.max(axis=2) - colours.min(axis=2)).max() > _COLOURED)


def short(error: Exception) -> str:
    """What an error says, as part of one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
