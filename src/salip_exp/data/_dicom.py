"""DICOM: files of a series, or frames of a file, as one volume, a single frame as a picture; pydicom is an extra.

Rescaling, windows, polarity and geometry are those of the headers. Nothing else of a header is kept: no name, no number
of a patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp._files import PICTURE, open_file
from salip_exp._wording import many, some
from salip_exp.config import Volume
from salip_exp.data import _dicom_pixels as pixels
from salip_exp.data import _frames as frames
from salip_exp.data._stored import Stored, grid, reading, require_fair
from salip_exp.data._windows import limits
from salip_exp.data.paths import has_dicom_mark, natural
from salip_exp.errors import CaseError

ENDINGS = (".dcm", ".dicom", ".ima", ".dic")
_DEFLATED, _META = b"1.2.840.10008.1.2.1.99", 1 << 16
"""The transfer syntax that packs a whole file, and the bytes that name it stand in."""


@dataclass(frozen=True)
class _Head:
    """What of a header says which volume a file belongs to, and where it lies there.

    Attributes:
        stack: files that are alike in it are one volume; None: the file is one by itself.
        series: a hash of the unique number of its series.
        number: SeriesNumber, as it is; the hash where there is none.
        plane: where it lies.
        frames: how many it holds.
    """

    stack: tuple[Any, ...] | None
    series: str
    number: str
    plane: frames.Plane
    frames: int


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its ending, or by its mark where it has none that says otherwise."""
    ending = path.suffix.lower()
    return ending in ENDINGS or ((not ending or ending[1:].isdigit()) and has_dicom_mark(path))


def stack_of(path: Path) -> tuple[Path, ...]:
    """The files of a folder that make one volume with a file, from one end to the other; the file alone if none do.

    Raises:
        CaseError: E_READ, the folder or the file cannot be read.
    """
    own = _own(path)
    found = None if own.stack is None else _stacks(path.parent, path.parent.stat().st_mtime_ns).get(own.stack)
    return (path,) if found is None else found


def _own(path: Path) -> _Head:
    """What the header of a file says."""
    with reading(path, "DICOM"):
        return _heads(path.parent, path.parent.stat().st_mtime_ns).get(path.name) or _head(path)


@lru_cache(maxsize=4)
def _stacks(folder: Path, modified: int) -> dict[tuple[Any, ...], tuple[Path, ...]]:
    """The files of each stack of a folder, from one end to the other."""
    places: dict[tuple[Any, ...], list[tuple[float, str]]] = {}
    for name, head in _heads(folder, modified).items():
        if head.stack is not None:
            places.setdefault(head.stack, []).append((float(head.plane.normal @ head.plane.position), name))
    return {
        stack: tuple(folder / name for _, name in sorted(found, key=lambda each: each[0]))
        for stack, found in places.items()
    }


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


MOST = "most"
"""In place of the number of a series: that with the most slices."""


def of_series(paths: Iterable[Path], wanted: str) -> list[Path]:
    """Of files that stand for volumes and pictures, those of one series of each folder.

    Args:
        wanted: its SeriesNumber, or the hash that stands for it, or MOST.
    """
    if wanted != MOST:
        return [path for path in paths if wanted in (_own(path).number, _own(path).series)]
    largest: dict[Path, Path] = {}
    for path in paths:
        if slices(path) > slices(largest.setdefault(path.parent, path)):
            largest[path.parent] = path
    return list(largest.values())


def slices(path: Path) -> int:
    """How many slices the volume of a file has; 1 of a picture."""
    return max(len(stack_of(path)), _own(path).frames)


def listed(paths: Iterable[Path]) -> str:
    """The series of files, in words: what `of_series` chooses from."""
    return some([f"{_own(path).number} ({many(slices(path), 'slice')})" for path in paths])


def is_stack(path: Path) -> bool:
    """Whether a DICOM file is one of a volume, or holds one."""
    return _own(path).frames != 1 or len(stack_of(path)) > 1


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
    *(
        "SeriesInstanceUID",
        "SeriesNumber",
        "FrameOfReferenceUID",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "Rows",
        "Columns",
        "NumberOfFrames",
    ),
    *("PixelSpacing", *frames.GROUPS),
)


def _head(path: Path) -> _Head:
    header = _read(path, _TOLD)
    if not (header.get("Rows") and header.get("Columns")):
        raise CaseError("E_READ", f"{path} is DICOM without a picture: remove it.")
    series = hashlib.sha256(str(header.get("SeriesInstanceUID", "")).encode()).hexdigest()[:8]
    number, plane = int(header.get("NumberOfFrames") or 1), frames.plane(header)
    lies = tuple(round(each, 4) for each in (*plane.directions, *plane.spacing))
    space = str(header.get("FrameOfReferenceUID", ""))  # places in different ones cannot be compared
    stack = (series, space, header.Rows, header.Columns, lies) if plane.known and number == 1 else None
    return _Head(stack, series, str(header.get("SeriesNumber") or series), plane, number)


def _read(path: Path, tags: tuple[str, ...] | None = None) -> Any:
    """A file; only some tags of its header where they are given, in which case pixels are not read."""
    with pixels.pydicom_silent() as pydicom, open_file(path, PICTURE) as stream:
        if _DEFLATED in stream.read(_META):  # before pydicom inflates it, to whatever size
            raise CaseError("E_FORMAT", f"{path} is deflated DICOM: write it uncompressed, as dcmdjpeg or gdcmconv do.")
        stream.seek(0)
        return pydicom.dcmread(stream, stop_before_pixels=tags is not None, specific_tags=list(tags) if tags else None)


def read(path: Path, voxels: bool = True) -> Stored:
    """The volume that a file belongs to, or holds.

    Args:
        voxels: whether they are read; without, all are zero.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS for two slices at one place, E_AFFINE for slices that are missing, uneven, or
            do not say where they lie, E_FORMAT.
        EnvironmentFault: pydicom is not installed.
    """
    files = stack_of(path)
    with reading(path, "DICOM"):
        first = _read(files[0], None if voxels else _TOLD + pixels.SHOWN)
        number = frames.count(first, path)
        shape = int(first.Columns), int(first.Rows), max(number, len(files))
        require_fair(shape, path)
        if number > 1:
            order, planes = frames.in_order(first, number, path)
            affine = frames.affine(planes, f"{path} holds")
            slices = list(pixels.values(first, path)[order]) if voxels else []
        else:
            # Of what is read now: headers are kept by folders, and a file may have been written over since.
            read = [_slice(each, pixels.is_inverted(first)) for each in files] if voxels else []
            planes = [plane for plane, _ in read] or [_own(each).plane for each in files]
            affine = frames.affine(planes, f"{path.parent}: the series has")
            slices = [values for _, values in read]
        values = np.stack([each.T for each in slices], axis=2) if voxels else grid(shape)
        return Stored(values, affine, window=pixels.window(first), inverted=pixels.is_inverted(first))


def _slice(path: Path, inverted: bool) -> tuple[frames.Plane, NDArray[np.float64]]:
    """Where a file of a series lies, and its numbers (rows, columns), of which the lowest is white as in the others."""
    data = _read(path)
    if pixels.is_inverted(data) != inverted:
        raise CaseError(
            "E_FORMAT", f"{path}: of its series some slices have a white zero, some a black one: save them alike."
        )
    return frames.plane(data), pixels.values(data, path)[0]


def as_stored(path: Path, whole: NDArray[Any]) -> NDArray[Any]:
    """A volume in the axes of `read`, its slices in the order of the frames of a file; of a series as it is.

    Raises:
        CaseError: as from `read`.
    """
    with reading(path, "DICOM"):
        data = _read(path, _TOLD)
        number = frames.count(data, path)
        return whole if number == 1 else whole[..., np.argsort(frames.in_order(data, number, path)[0])]


def read_single(path: Path, config: Volume) -> tuple[NDArray[np.uint8], tuple[float, float] | None, tuple[str, ...]]:
    """A file that is a picture: uint8 (H, W, 3) RGB, millimetres per pixel (row, column) or None, and notes.

    Grey is windowed as `dataset.volume.window` says, else as `grey` says.

    Raises:
        CaseError: as from `read`, or E_NONFINITE.
        EnvironmentFault: pydicom is not installed.
    """
    with reading(path, "DICOM"):
        data = _read(path)
        require_fair((data.Rows, data.Columns), path)
        spacing = _spacing(data)
        detector = spacing is not None and not frames.plane(data).spacing
        notes = ("pixel size is that at the detector",) if detector else ()
        if int(data.get("SamplesPerPixel") or 1) > 1 or data.get("PhotometricInterpretation") == "PALETTE COLOR":
            return pixels.colours(data, path), spacing, notes
        shown, said = pixels.grey(pixels.values(data, path)[0], data, limits(config.window), path)
        return np.repeat(shown[:, :, None], 3, axis=2), spacing, (*notes, said)


def _spacing(data: Any) -> tuple[float, float] | None:
    """Millimetres per pixel (row, column): in the patient, or at the detector of an x-ray."""
    for found in (frames.plane(data).spacing, frames.numbers(data.get("ImagerPixelSpacing"))):
        if len(found) == 2 and min(found) > 0:
            return found[0], found[1]
    return None
