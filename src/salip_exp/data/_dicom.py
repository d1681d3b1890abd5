"""DICOM: the files of a series as one volume, a single file as a picture; pydicom is an extra.

Rescaling, windows, polarity and geometry are those of the headers. Nothing else of a header is kept: no name, no number
of a patient.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp._files import PICTURE, open_file
from salip_exp.config import Volume
from salip_exp.data._labels import finite
from salip_exp.data._stored import Stored, from_lps, grid, reading, require_fair
from salip_exp.data._windows import between, limits
from salip_exp.data.images import short
from salip_exp.data.images import window as from_minimum
from salip_exp.data.paths import has_dicom_mark, natural
from salip_exp.errors import CaseError, EnvironmentFault

ENDINGS = (".dcm", ".dicom", ".ima", ".dic")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_UNEVEN = 0.01
"""Share of the distance between slices that one may be off."""


@dataclass(frozen=True)
class _Head:
    """What of a header says which volume a file belongs to, and where it lies there.

    Attributes:
        stack: files that are alike in it are one volume; None: the file is one by itself.
        series: a hash of the number of its series.
        position, directions: ImagePositionPatient and ImageOrientationPatient.
    """

    stack: tuple[Any, ...] | None
    series: str
    position: tuple[float, ...] = ()
    directions: tuple[float, ...] = ()


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its ending, or by its mark where it has none that says otherwise."""
    ending = path.suffix.lower()
    return ending in ENDINGS or ((not ending or ending[1:].isdigit()) and has_dicom_mark(path))


def stack_of(path: Path) -> tuple[Path, ...]:
    """The files of a folder that make one volume with a file, from one end to the other; the file alone if none do.

    Raises:
        CaseError: E_READ, the folder or the file cannot be read.
    """
    with reading(path, "DICOM"):
        heads = _heads(path.parent, path.parent.stat().st_mtime_ns)
        own = heads.get(path.name) or _head(path)
    if own.stack is None:
        return (path,)
    normal = np.cross(own.directions[:3], own.directions[3:])
    names = [name for name, head in heads.items() if head.stack == own.stack]
    return tuple(path.parent / name for name in sorted(names, key=lambda name: float(normal @ heads[name].position)))


def leaders(paths: Iterable[Path]) -> dict[Path, str | None]:
    """The files that stand for a volume or a picture, each with a hash of its series; None for a file by itself.

    A volume stands where its first file does. Files without a picture (reports,
    directories, what is damaged) stand for nothing.
    """
    found: dict[Path, str | None] = {}
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            continue
        head = _heads(path.parent, path.parent.stat().st_mtime_ns).get(path.name)
        if head is not None:
            stack = stack_of(path)
            seen.update(stack)
            found[path] = head.series if len(stack) > 1 else None
    return found


def is_stack(path: Path) -> bool:
    """Whether a DICOM file is one of a volume."""
    return len(stack_of(path)) > 1


@lru_cache(maxsize=4)
def _heads(folder: Path, modified: int) -> dict[str, _Head]:
    """What the headers of pictures in a folder say, by name."""
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if path.is_file() and is_dicom(path):
            try:
                with reading(path, "DICOM"):
                    found[path.name] = _head(path)
            except CaseError:  # told by whoever lists files; it fails where it is asked for itself
                continue
    return found


_TOLD = (
    *("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns", "NumberOfFrames"),
    "PixelSpacing",
)


def _head(path: Path) -> _Head:
    header = _read(path, _TOLD)
    if not (header.get("Rows") and header.get("Columns")):
        raise CaseError("E_READ", f"{path} is DICOM without a picture: remove it.")
    series = hashlib.sha256(str(header.get("SeriesInstanceUID", "")).encode()).hexdigest()[:8]
    position, directions = (_numbers(header.get(key)) for key in ("ImagePositionPatient", "ImageOrientationPatient"))
    if len(position) != 3 or len(directions) != 6 or int(header.get("NumberOfFrames") or 1) > 1:
        return _Head(None, series)
    lies = tuple(round(each, 4) for each in (*directions, *_numbers(header.get("PixelSpacing"))))
    return _Head((series, header.Rows, header.Columns, lies), series, position, directions)


def _numbers(value: Any) -> tuple[float, ...]:
    return () if value is None else tuple(float(each) for each in value)


@contextmanager
def _pydicom() -> Iterator[Any]:
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


def _read(path: Path, tags: tuple[str, ...] | None = None) -> Any:
    """A file; only some tags of its header where they are given, in which case pixels are not read."""
    with _pydicom() as pydicom, open_file(path, PICTURE) as stream:
        found = pydicom.dcmread(stream, stop_before_pixels=tags is not None, specific_tags=list(tags) if tags else None)
    if str(found.file_meta.get("TransferSyntaxUID", "")) == _DEFLATED:
        raise CaseError("E_FORMAT", f"{path} is deflated DICOM: write it uncompressed, as dcmdjpeg or gdcmconv do.")
    return found


def read(path: Path, voxels: bool = True) -> Stored:
    """The volume that a file belongs to.

    Args:
        voxels: whether they are read; without, all are zero.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS for two files at one place, E_AFFINE for slices that are missing or uneven.
        EnvironmentFault: pydicom is not installed.
    """
    files = stack_of(path)
    with reading(path, "DICOM"):
        first = _read(files[0])
        shape = int(first.Columns), int(first.Rows), len(files)
        require_fair(shape, path)
        affine = _affine(files, first, path)
        slices = [_values(_read(each), each) for each in files] if voxels else []
        values = np.stack([each.T for each in slices], axis=2) if voxels else grid(shape)
        return Stored(values, affine, window=_window(first), inverted=_is_inverted(first))


def _affine(files: tuple[Path, ...], first: Any, path: Path) -> NDArray[np.float64]:
    """From columns, rows and files to millimetres; the step between files is as they lie, tilted or not."""
    heads = _heads(path.parent, path.parent.stat().st_mtime_ns)
    places = np.array([heads[each.name].position for each in files])
    directions = np.array(heads[files[0].name].directions)
    normal = np.cross(directions[:3], directions[3:])
    apart = np.diff(places @ normal)
    if (apart <= 1e-4).any():
        raise CaseError(
            "E_DIMS", f"{path.parent}: several files of a series lie at one place (phases, echoes): give each a folder."
        )
    if np.abs(apart - apart.mean()).max() > _UNEVEN * apart.mean():
        raise CaseError(
            "E_AFFINE",
            f"{path.parent}: slices of the series lie {apart.min():.4g} to {apart.max():.4g} mm apart: files are "
            "missing, or it is to be resampled.",
        )
    rows, columns = _numbers(first.PixelSpacing)
    step = (places[-1] - places[0]) / (len(files) - 1)
    return from_lps([directions[:3] * columns, directions[3:] * rows, step, places[0]])


def _values(data: Any, path: Path) -> NDArray[np.float64]:
    """The numbers of a grey picture (rows, columns) in the units that its header rescales to."""
    require_fair((data.Rows, data.Columns, int(data.get("NumberOfFrames") or 1)), path)
    with _pydicom() as pydicom:
        try:
            pixels = pydicom.pixels.pixel_array(data)
        except RuntimeError as error:  # pydicom's, of a stream that is damaged as of a decoder that is missing
            name = getattr(data.file_meta.TransferSyntaxUID, "name", "of an unknown kind")
            raise CaseError(
                "E_FORMAT",
                f"{path}: its pixels ({name}) cannot be unpacked ({short(error)}): it is damaged, or wants a decoder: "
                "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg.",
            ) from error
        if pixels.ndim != 2:
            raise CaseError("E_DIMS", f"{path} holds {' x '.join(map(str, pixels.shape))} pixels: give one grey slice.")
        return np.asarray(pydicom.pixels.apply_modality_lut(pixels, data), np.float64)


def _is_inverted(data: Any) -> bool:
    return bool(data.get("PhotometricInterpretation") == "MONOCHROME1")


def _window(data: Any) -> tuple[float, float] | None:
    """The first window of a header: PS3.3, C.11.2.1.2."""
    centre, width = (_first(data.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width < 1:
        return None
    if data.get("VOILUTFunction", "LINEAR") == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2) if width > 1 else None


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def read_single(path: Path, config: Volume) -> tuple[NDArray[np.uint8], tuple[float, float] | None, tuple[str, ...]]:
    """A file that is a picture: uint8 (H, W, 3) RGB, millimetres per pixel (row, column) or None, and notes.

    Grey is windowed as `dataset.volume.window` says, else as the header does, else from minimum to maximum.

    Raises:
        CaseError: as from `read`, or E_NONFINITE.
        EnvironmentFault: pydicom is not installed.
    """
    with reading(path, "DICOM"):
        data = _read(path)
        require_fair((data.Rows, data.Columns), path)
        spacing = _spacing(data)
        detector = spacing is not None and "PixelSpacing" not in data
        notes = ("pixel size is that at the detector",) if detector else ()
        if int(data.get("SamplesPerPixel") or 1) > 1 or data.get("PhotometricInterpretation") == "PALETTE COLOR":
            return _colours(data, path), spacing, notes
        values = _values(data, path)
        if not finite(values).all():
            raise CaseError("E_NONFINITE", f"{path} holds NaN or infinite pixels: mend or remove the file.")
        chosen = limits(config.window) or _window(data)
        grey = from_minimum(values, path) if chosen is None else between(values, *chosen)
        grey = 255 - grey if _is_inverted(data) else grey
        said = "from minimum to maximum" if chosen is None else f"{chosen[0]:g} to {chosen[1]:g}"
        return np.repeat(grey[:, :, None], 3, axis=2), spacing, (*notes, f"windowed {said}")


def _spacing(data: Any) -> tuple[float, float] | None:
    """Millimetres per pixel (row, column): in the patient, or at the detector of an x-ray."""
    for key in ("PixelSpacing", "ImagerPixelSpacing"):
        found = _numbers(data.get(key))
        if len(found) == 2 and min(found) > 0:
            return found[0], found[1]
    return None


def _colours(data: Any, path: Path) -> NDArray[np.uint8]:
    with _pydicom() as pydicom:
        pixels = pydicom.pixels.pixel_array(data)
        if data.PhotometricInterpretation == "PALETTE COLOR":
            pixels = pydicom.pixels.apply_color_lut(pixels, data) >> 8
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise CaseError("E_DIMS", f"{path} holds several pictures: give one picture per file.")
        if pixels.max(initial=0) > 255:
            raise CaseError("E_FORMAT", f"{path} holds 16-bit colours: save it with 8 bits.")
        return np.ascontiguousarray(pixels, np.uint8)
