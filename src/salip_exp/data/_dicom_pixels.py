"""What the pixels of a DICOM file mean: depth, sign, rescaling, padding, polarity, windows, tables and colours."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp.data import _frames as frames
from salip_exp.data._labels import finite
from salip_exp.data._stored import require_fair
from salip_exp.data._windows import between
from salip_exp.data.images import short
from salip_exp.data.images import window as from_minimum
from salip_exp.errors import CaseError, EnvironmentFault

_WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction")
SHOWN = (*_WINDOW, "PhotometricInterpretation", "PresentationLUTShape")
"""Tags that say how numbers are shown."""


@contextmanager
def pydicom_silent() -> Iterator[Any]:
    """The package, silent.

    Raises:
        EnvironmentFault: it is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise EnvironmentFault("DICOM is read by an extra: pip install 'salip_exp[dicom]'") from error
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pydicom


def values(data: Any, path: Path) -> NDArray[np.float64]:
    """The numbers of a grey file (frames, rows, columns) in the units that its header rescales each frame to.

    Raises:
        CaseError: E_SIZE, E_DIMS, E_FORMAT.
        EnvironmentFault: pydicom is not installed.
    """
    number = frames.count(data, path)
    require_fair((data.Rows, data.Columns, number), path)
    if "ConcatenationUID" in data:
        raise CaseError("E_FORMAT", f"{path} is a part of an image in several files (a concatenation): join them.")
    stored, high = data.get("BitsStored"), data.get("HighBit")
    if stored is not None and high is not None and high != stored - 1:  # pydicom takes the lowest bits whatever it says
        raise CaseError(
            "E_FORMAT", f"{path}: its {stored} bits end at bit {high}, which is not read: write it with {stored - 1}."
        )
    with pydicom_silent() as pydicom:
        try:
            pixels = pydicom.pixels.pixel_array(data)
        except RuntimeError as error:  # pydicom's, of a stream that is damaged as of a decoder that is missing
            name = getattr(data.file_meta.TransferSyntaxUID, "name", "of an unknown kind")
            raise CaseError(
                "E_FORMAT",
                f"{path}: its pixels ({name}) cannot be unpacked ({short(error)}): it is damaged, or wants a decoder: "
                "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg.",
            ) from error
        if pixels.shape[-2:] != (data.Rows, data.Columns) or pixels.size != number * data.Rows * data.Columns:
            raise CaseError("E_DIMS", f"{path} holds {' x '.join(map(str, pixels.shape))} pixels: give grey slices.")
        pixels = pixels.reshape(number, *pixels.shape[-2:])
        rescaled = [_rescaled(each, data, frame, pydicom) for frame, each in enumerate(pixels)]
        return np.stack([_unpadded(each, raw, data) for each, raw in zip(rescaled, pixels, strict=True)])


def _rescaled(pixels: NDArray[Any], data: Any, frame: int, pydicom: Any) -> NDArray[np.float64]:
    """A frame in the units of its functional group, or of the header: PS3.3, C.7.6.16.2.9 and C.11.1."""
    slope, intercept = (
        _first(frames.told(data, frame, "PixelValueTransformationSequence", f"Rescale{name}"))
        for name in ("Slope", "Intercept")
    )
    if slope is None or intercept is None or "RescaleSlope" in data or "ModalityLUTSequence" in data:
        return np.asarray(pydicom.pixels.apply_modality_lut(pixels, data), np.float64)
    return pixels.astype(np.float64) * slope + intercept


def _unpadded(rescaled: NDArray[np.float64], pixels: NDArray[Any], data: Any) -> NDArray[np.float64]:
    """A frame in which what only fills it up to a rectangle is as dark as the darkest of the rest: PS3.3, C.7.5.1.1.2.

    Where no number is below 0 that is 0, which windows by percentiles leave out.
    """
    value, limit = _first(data.get("PixelPaddingValue")), _first(data.get("PixelPaddingRangeLimit"))
    if value is None or pixels.dtype.kind not in "iu":
        return rescaled
    ends = np.array([value, value if limit is None else limit]).astype(np.int64).astype(pixels.dtype)  # sign as pixels
    padded = (pixels >= ends.min()) & (pixels <= ends.max())
    if padded.all() or not padded.any():
        return rescaled
    rest = rescaled[~padded]
    return np.where(padded, rest.max() if is_inverted(data) else min(0.0, float(rest.min())), rescaled)


def is_inverted(data: Any) -> bool:
    """Whether the lowest number is white."""
    return bool(data.get("PhotometricInterpretation") == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE")


def window(data: Any) -> tuple[float, float] | None:
    """The numbers that are black and white by the first window of a header, of its first frame where frames have their
    own: PS3.3, C.11.2.1.2; None where it has none, or one that is no straight line.
    """
    centre, width, kind = _told_window(data)
    if centre is None or width is None or width < 1 or kind not in (None, "", "LINEAR", "LINEAR_EXACT"):
        return None
    if kind == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2) if width > 1 else None


def _told_window(data: Any) -> tuple[float | None, float | None, Any]:
    centre, width, kind = (frames.told(data, 0, "FrameVOILUTSequence", key) for key in _WINDOW)
    return _first(centre), _first(width), kind


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def grey(
    numbers: NDArray[np.float64], data: Any, chosen: tuple[float, float] | None, path: Path
) -> tuple[NDArray[np.uint8], str]:
    """Numbers (rows, columns) of a picture as it is shown, and how: between two that are chosen, else as the header
    says, by its table, its window or its sigmoid, else from minimum to maximum.

    Raises:
        CaseError: E_NONFINITE.
    """
    if not finite(numbers).all():
        raise CaseError("E_NONFINITE", f"{path} holds NaN or infinite pixels: mend or remove the file.")
    shown, said = _shown(numbers, data, chosen, path)
    return 255 - shown if is_inverted(data) else shown, f"windowed {said}"


def _shown(
    numbers: NDArray[np.float64], data: Any, chosen: tuple[float, float] | None, path: Path
) -> tuple[NDArray[np.uint8], str]:
    table = data.get("VOILUTSequence")
    if chosen is None and table:
        return _looked_up(numbers, table[0]), "by the header's table"
    centre, width, kind = _told_window(data)
    if chosen is None and kind == "SIGMOID" and centre is not None and width is not None and width > 0:
        steep = np.exp(np.clip(-4 * (numbers - centre) / width, -700, 700))  # PS3.3, C.11.2.1.3.1
        return np.round(255 / (1 + steep)).astype(np.uint8), f"by a sigmoid of {width:g} around {centre:g}"
    limits = chosen or window(data)
    if limits is None:
        return from_minimum(numbers, path), "from minimum to maximum"
    return between(numbers, *limits), f"{limits[0]:g} to {limits[1]:g}"


def _looked_up(numbers: NDArray[np.float64], table: Any) -> NDArray[np.uint8]:
    """Numbers as a table of the header shows them: PS3.3, C.11.2.1.1."""
    count, first, bits = (int(each) for each in table.LUTDescriptor)
    found = table.LUTData
    entries = np.frombuffer(found, "<u2") if isinstance(found, bytes) else np.asarray(found)
    if len(entries) != (count or 1 << 16):
        raise ValueError(f"its table has {len(entries)} entries, and {count} are promised")
    at = np.clip(np.rint(numbers) - first, 0, len(entries) - 1).astype(np.int64)
    return between(entries[at].astype(np.float64), 0, (1 << bits) - 1)


def colours(data: Any, path: Path) -> NDArray[np.uint8]:
    """RGB (rows, columns, 3) of a file of colours or of a palette.

    Raises:
        CaseError: E_DIMS, E_FORMAT.
        EnvironmentFault: pydicom is not installed.
    """
    if frames.count(data, path) > 1:  # before memory is taken for all of them
        raise CaseError("E_DIMS", f"{path} holds several pictures: give one picture per file.")
    with pydicom_silent() as pydicom:
        pixels = pydicom.pixels.pixel_array(data)
        if data.PhotometricInterpretation == "PALETTE COLOR":
            deep = int(data.RedPaletteColorLookupTableDescriptor[2])
            pixels = pydicom.pixels.apply_color_lut(pixels, data) >> max(0, deep - 8)
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise CaseError("E_DIMS", f"{path} holds {' x '.join(map(str, pixels.shape))} numbers: give it in RGB.")
        if pixels.max(initial=0) > 255:
            raise CaseError("E_FORMAT", f"{path} holds 16-bit colours: save it with 8 bits.")
        return np.ascontiguousarray(pixels, np.uint8)
