"""Image files to arrays: uint8 RGB pictures and boolean masks, never a grey half image.

What a file says about its pixels (orientation, polarity, sign, palette, transparency) is obeyed or refused by name;
docs/data.md has the table.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from salip_exp._files import PICTURE, TooLarge, open_file, read_file
from salip_exp.data._labels import finite, target
from salip_exp.data._tiff import EXIF, require_fair_directory, require_fair_segments, silence_libtiff
from salip_exp.errors import CaseError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
"""Whatever a file is called, no other decoder is tried on it."""
MAX_PIXELS = 100_000_000
"""Larger images are refused before memory is taken."""
_SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "F"}
_COLOURED = 16
"""Colour channels that differ by more are a colour; less is the noise of JPEG."""
_SAMPLES, _PHOTOMETRIC, _BITS, _COMPRESSION = 277, 262, 258, 259
_PLANES, _FORMAT, _DEPTH, _SAID = 284, 339, 32997, 270
"""Tags of TIFF."""
_ORIENTATION = 274
"""Tag of TIFF and of EXIF."""
_STEPS = {"L;2": 85, "L;4": 17}
"""From the greys of a PNG to those of 8 bits, which Pillow makes of them, but not of the one that is transparent."""
_MASK_TURNED = "the mask turned as its EXIF data say"
"""Note on a mask; an image that is turned and a mask that is not may not lie on each other."""
_SIGNED, _FLOAT = 2, 3
"""Values of TIFF's SampleFormat."""


@dataclass(frozen=True)
class _Pixels:
    """What a picture file holds, upright and of its whole depth.

    Attributes:
        values: (H, W) or RGB (H, W, 3); a palette's colours.
        opaque: bool (H, W); None where nothing is meant to be transparent.
        numbers: (H, W) of a palette; None where there is none.
        turned: it was stored otherwise than upright, and says so.
    """

    values: NDArray[Any]
    opaque: NDArray[np.bool_] | None = None
    numbers: NDArray[np.uint8] | None = None
    turned: bool = False


def read_picture(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A picture as uint8 (H, W, 3) RGB, and notes on what was done to it.

    Deeper than 8 bits is windowed from its minimum to its maximum; palettes, grey and CMYK are converted, transparency
    is dropped.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS for several frames, E_FORMAT for kinds of pixels that are not read, or
            E_NONFINITE.
    """
    return _shown(_decoded(path), path)


def picture_of(image: Image.Image) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The same of a picture that is open: to the bit what its file gives, while nothing was done to it.

    Raises:
        CaseError: as from `read_picture`.
    """
    path = Path(str(getattr(image, "filename", "")) or "the picture")
    _require_one_of_fair_size(image, path)
    return _shown(_upright(image, path), path)


def _shown(read: _Pixels, path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    pixels, notes = read.values, () if read.opaque is None else ("alpha dropped",)
    if pixels.dtype != np.uint8:
        deep = "signed numbers" if pixels.dtype == np.int8 else "16 bit"
        pixels, notes = window(pixels.astype(np.float64), path), (f"windowed from {deep}", *notes)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels, np.uint8), (*notes, *["turned as its EXIF data say"] * read.turned)


def window(values: NDArray[np.float64], path: Path) -> NDArray[np.uint8]:
    """Numbers of any range as uint8, from minimum to maximum; a constant image is black."""
    if not finite(values).all():
        raise CaseError("E_NONFINITE", f"{path} holds NaN or infinite pixels: mend or remove the file.")
    low, high = values.min(), values.max()
    scale = 255 / (high - low) if high > low else 0.0
    return np.asarray(np.round((values - low) * scale), np.uint8)


def read_mask(path: Path, label: int | None = None) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """A mask (H, W), as `labels.target` finds it in the file's numbers, and notes on it.

    A coloured palette is a list of labels; transparent is background.

    Raises:
        CaseError: as from `read_picture`, or E_LABELS for several labels of which none is chosen, several colours, or
            a shape that is drawn in the transparency alone.
    """
    read = _decoded(path)
    mask, notes = target(_mask_numbers(read, path, label), path, label)
    return mask, (*notes, *[_MASK_TURNED] * read.turned)


def read_levels(path: Path, label: int | None = None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A mask as uint8 levels (H, W), and notes on it: 0 is background, 255 target, what lies between its grey edge.

    Raises:
        CaseError: as from `read_mask`.
    """
    read = _decoded(path)
    numbers = _mask_numbers(read, path, label)
    mask, notes = target(numbers, path, label)
    notes = (*notes, *[_MASK_TURNED] * read.turned)
    if label is not None or not mask.any():
        return np.asarray(mask * np.uint8(255)), notes
    return np.asarray(np.round(numbers.clip(0) * (255 / numbers.max())), np.uint8), notes


def _mask_numbers(read: _Pixels, path: Path, label: int | None) -> NDArray[Any]:
    """The numbers (H, W) of a mask's pixels; zero where it is transparent."""
    values = read.values
    opaque = np.ones(values.shape[:2], bool) if read.opaque is None else read.opaque
    coloured = values.ndim == 3 and _is_coloured(values)
    if coloured and read.numbers is not None and _from_background(read, path, label):
        return np.where(opaque, read.numbers, 0)
    shown = np.where(opaque[..., None] if values.ndim == 3 else opaque, values, 0)
    if coloured and (values.dtype != np.uint8 or len(Image.fromarray(shown).getcolors(3) or "many") > 2):
        raise CaseError("E_LABELS", f"{path} is a mask of several colours: save it as grey levels, one per label.")
    if not shown.any() and opaque.any() and not opaque.all():
        raise CaseError("E_LABELS", f"{path} is a mask of transparency alone: save its shape as grey levels.")
    if values.ndim == 3:
        values = np.asarray(Image.fromarray(values).convert("L")) if values.dtype == np.uint8 else values[:, :, 0]
    return np.where(opaque, values, 0)


def _from_background(read: _Pixels, path: Path, label: int | None) -> bool:
    """Whether a coloured palette counts from a background of number 0, so that its numbers are labels.

    Raises:
        CaseError: E_LABELS, it has a colour for number 0 and black for another one, and no label is chosen.
    """
    assert read.numbers is not None
    black = ~read.values.any(axis=2) if read.opaque is None else ~read.opaque | ~read.values.any(axis=2)
    zero = read.numbers == 0
    if label is None and (zero & ~black).any() and (black & ~zero).any():
        if read.opaque is not None:
            return False  # what is transparent is background, the colours say the rest
        raise CaseError(
            "E_LABELS",
            f"{path} has a colour for the number 0 of its palette and black for another: choose the number that is "
            "the target with dataset.files.label=N.",
        )
    return True


def _is_coloured(colours: NDArray[Any]) -> bool:
    """Whether channels of (H, W, 3) differ by more than noise."""
    spread = colours.max(axis=2).astype(np.int32) - colours.min(axis=2)
    return bool(spread.max() > (_COLOURED if colours.dtype == np.uint8 else 0))


def _decoded(path: Path) -> _Pixels:
    """The one place where a picture file becomes numbers."""
    silence_libtiff()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is refused here, or does not matter
            with open_file(path, PICTURE) as stream:
                require_fair_directory(stream)
                require_fair_segments(stream)
                with Image.open(stream, formats=_FORMATS) as image:
                    _require_one_of_fair_size(image, path)
                    if image.format != "PNG":
                        return _upright(image, path)
                    image.verify()  # the checksum of every chunk, to the end; the image is used up by it
                stream.seek(0)
                with Image.open(stream, formats=_FORMATS) as image:
                    return _upright(image, path)
    except CaseError:
        raise
    except (TooLarge, Image.DecompressionBombError) as error:
        raise CaseError("E_SIZE", f"{path} is too large: {error}.") from error
    except UnidentifiedImageError as error:
        raise CaseError(
            "E_READ",
            f"{path} cannot be read as an image (it is none, or of a kind that is not read, as TIFF of 64-bit "
            "numbers is not): get the file again, or save it as PNG.",
        ) from error
    except Exception as error:  # decoders raise almost anything on bytes they were not made for
        raise CaseError("E_READ", f"{path} cannot be read as an image ({short(error)}): get the file again.") from error


def _require_one_of_fair_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise CaseError("E_SIZE", f"{path} has {image.width} x {image.height} pixels: the limit is {MAX_PIXELS}.")
    # Not their number, for which a chain of any length would be followed.
    if getattr(image, "is_animated", False) or _untold_frames(image) > 1:
        raise CaseError("E_DIMS", f"{path} holds several pictures: give one picture per file, or a volume as .ome.tif.")


def _untold_frames(image: Image.Image) -> int:
    """How many pictures a TIFF says to hold behind its one directory: by ImageDepth, ImageJ's or tifffile's text."""
    tags = _tags(image)
    said = str(tags.get(_SAID, ""))
    stack = re.search(r"^images=(\d{1,9})", said, re.MULTILINE) if said.startswith("ImageJ=") else None
    shape = re.match(r'\{"shape": \[([\d, ]{1,99})\]', said)
    pixels = math.prod(map(int, shape[1].split(","))) if shape else 0
    behind = pixels // max(1, image.width * image.height * int(tags.get(_SAMPLES, 1)))
    return max(int(tags.get(_DEPTH, 1)), int(stack[1]) if stack else 1, behind)


def _tags(image: Image.Image) -> dict[int, Any]:
    """Tags of a TIFF; none of other files."""
    return dict(getattr(image, "tag_v2", {}))


def _upright(image: Image.Image, path: Path) -> _Pixels:
    """The pixels of an opened file, turned as its EXIF data say (Pillow turns TIFF itself while it loads)."""
    tags = _tags(image)
    if image.format == "TIFF" and _PHOTOMETRIC not in tags:
        raise CaseError("E_FORMAT", f"{path} is a TIFF that does not say whether its zero is black: write it again.")
    if image.format == "TIFF":
        _require_whole(image)
    packed = tags.get(_COMPRESSION, 1) != 1 and tags.get(_FORMAT, (1,))[0] != 1 and tags.get(_BITS, (1,))[0] > 8
    if (
        packed and isinstance(image, TiffImageFile) and image.tag_v2.prefix == b"MM"
    ):  # Pillow takes its bytes in the wrong order
        raise CaseError("E_FORMAT", f"{path} holds signed numbers, big-endian and compressed: save it uncompressed.")
    deep = any(";16" in str(tile) for tile in getattr(image, "tile", ())) or max(tags.get(_BITS, (1,))) > 8
    if deep and image.mode not in _SIXTEEN_BIT:
        return _deep_colours(image, tags, path)
    step = next((_STEPS.get(str(tile[3]), 1) for tile in getattr(image, "tile", ())), 1)
    image.load()
    require_fair_directory(io.BytesIO(image.info.get("exif", b"").removeprefix(EXIF)))
    turned = _is_turned(image, tags)
    image = ImageOps.exif_transpose(image)
    if image.mode == "La":  # grey, multiplied with its alpha
        image = image.convert("LA")
    if step > 1 and "transparency" in image.info:
        image.info["transparency"] *= step
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    opaque = _opaque(image) if transparent else None
    if image.mode in _SIXTEEN_BIT or tags.get(_FORMAT, (1,))[0] == _SIGNED:
        return _Pixels(_as_tagged(np.asarray(image), tags, path), opaque, turned=turned)
    numbers = np.asarray(image) if image.mode == "P" else None
    return _Pixels(np.asarray(image.convert("RGB")), opaque, numbers, turned)


def _is_turned(image: Image.Image, tags: dict[int, Any]) -> bool:
    return tags.get(_ORIENTATION, image.getexif().get(_ORIENTATION, 1)) in range(2, 9)


def _require_whole(image: Image.Image) -> None:
    """Raise ValueError where the strips or tiles of a TIFF leave a part of it open: Pillow would make that black."""
    covered = sum((right - left) * (low - high) for _, (left, high, right, low), *_ in getattr(image, "tile", ()))
    if covered < image.width * image.height:
        raise ValueError(f"its strips are {covered} of {image.width * image.height} pixels")


def _opaque(image: Image.Image) -> NDArray[np.bool_]:
    """Where a picture with transparency is to be seen: where alpha is one half or more."""
    if image.mode in _SIXTEEN_BIT:
        return np.asarray(np.asarray(image) != image.info["transparency"])
    return np.asarray(np.asarray(image.convert("RGBA"))[:, :, 3] >= 128)


def _as_tagged(values: NDArray[Any], tags: dict[int, Any], path: Path) -> NDArray[Any]:
    """Grey numbers of a TIFF with the sign and the polarity of its tags, where Pillow does not give them so."""
    kind, bits = tags.get(_FORMAT, (1,))[0], tags.get(_BITS, (16,))[0]
    if kind == _SIGNED and bits == 8:
        values = values.view(np.int8)
    elif kind == 1 and bits == 32:
        values = values.view(np.uint32)
    if tags.get(_PHOTOMETRIC, 1) != 0:
        return values
    if kind in (_SIGNED, _FLOAT):
        raise CaseError(
            "E_FORMAT", f"{path} is a TIFF whose zero is white, of signed numbers: save it with black zero."
        )
    return np.asarray((1 << bits) - 1 - values.astype(np.int64))


def _deep_colours(image: Image.Image, tags: dict[int, Any], path: Path) -> _Pixels:
    """16-bit colours, of which Pillow would keep the upper byte alone."""
    if image.mode not in ("RGB", "RGBA", "LA") or tags.get(_PLANES, 1) != 1 or tags.get(_FORMAT, (1,))[0] != 1:
        raise CaseError("E_FORMAT", f"{path} holds 16-bit colours of a kind that is not read: save it as RGB in PNG.")
    pixels = cv2.imdecode(np.frombuffer(read_file(path, PICTURE), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise ValueError("16-bit colours that OpenCV does not decode")
    image.load()  # what a PNG says may stand behind its pixels
    require_fair_directory(io.BytesIO(image.info.get("exif", b"").removeprefix(EXIF)))
    turned = _is_turned(image, tags)
    if _ORIENTATION not in tags:  # which OpenCV obeys itself; it leaves EXIF data alone
        pixels = _turned(pixels, image.getexif().get(_ORIENTATION, 1))
    opaque = pixels[:, :, 3] >= 1 << 15 if pixels.shape[2] == 4 else None
    return _Pixels(np.asarray(pixels[:, :, 2::-1]), opaque, turned=turned)


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Channels (H, W, C) turned as Pillow turns an image that says so."""
    channels = []
    for channel in np.moveaxis(pixels, 2, 0):
        plane = Image.fromarray(channel)
        plane.getexif()[_ORIENTATION] = orientation
        channels.append(np.asarray(ImageOps.exif_transpose(plane)))
    return np.stack(channels, axis=2)


def short(error: Exception) -> str:
    """What an error says, as part of one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
