"""NPZ archives that hold an image and its mask, as MedSAM has them."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from salip_exp._files import PICTURE, TooLarge, open_file
from salip_exp._wording import some
from salip_exp.data._stored import UNSIZED, Stored, from_lps, grid, reading, require_fair
from salip_exp.errors import CaseError

ENDING = ".npz"
TABLE = 1 << 20
"""Bytes of an archive's table of contents, of which every entry becomes an object."""
_TAIL = (1 << 16) + 22
"""Bytes that the end of an archive takes at most, its comment included."""
_NAMES = {False: ("imgs", "img", "image", "arr_0"), True: ("gts", "gt", "mask", "label")}
"""Names of images and of masks in an archive."""


def is_stack(path: Path) -> bool:
    """Whether the image of an archive is a volume (slices, rows, columns) and no picture (rows, columns[, 3])."""
    with reading(path, "NPZ"):
        shape = _array(path, mask=False, voxels=False)[0].shape
    return len(shape) == 3 and shape[2] not in (3, 4)


def read(path: Path, voxels: bool = True, mask: bool = False) -> Stored:
    """A volume; its `spacing` is millimetres along columns, rows and slices, and its axes go left, posterior, superior.

    Raises:
        CaseError: E_READ, E_DIMS, E_SIZE.
    """
    with reading(path, "NPZ"):
        values, spacing = _array(path, mask, voxels)
        if values.ndim != 3:
            raise CaseError("E_DIMS", f"{path} holds an array of {values.ndim} dimensions: give slices, rows, columns.")
        size = np.ones(3) if spacing is None else np.asarray(spacing, np.float64)
        if not (size > 0).all():
            raise CaseError("E_AFFINE", f"{path} has voxels of {size.tolist()} mm: give sizes above 0.")
        notes = (UNSIZED,) if spacing is None else ()
        return Stored(values.transpose(2, 1, 0), from_lps([*np.diag(size), np.zeros(3)]), notes)


def read_flat(path: Path, mask: bool) -> NDArray[Any]:
    """A picture (rows, columns[, colours]) or its mask (rows, columns)."""
    with reading(path, "NPZ"):
        return _array(path, mask, voxels=True)[0]


def _array(path: Path, mask: bool, voxels: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The array of an image or a mask, zero where voxels are not wanted, and the spacing, if there is one."""
    with open_file(path, PICTURE) as stream:
        _require_fair_table(stream)
        with zipfile.ZipFile(stream) as archive:
            return _arrays(archive, path, mask, voxels)


def _require_fair_table(stream: BinaryIO) -> None:
    """Look at the size of an archive's table of contents before it is read; the stream stands at its start again.

    Raises:
        TooLarge: it has more than TABLE bytes.
        ValueError: there is none, or one of the kind for archives of more than 4 GB.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _TAIL))
    tail = stream.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 16 or b"PK\6\7" in tail[max(0, at - 20) : at]:
        raise ValueError("it is no archive, or one for more than 4 GB")
    if (taken := int.from_bytes(tail[at + 12 : at + 16], "little")) > TABLE:
        raise TooLarge(f"its table of contents has {taken:,} bytes, and {TABLE:,} is the limit")
    stream.seek(0)


def _arrays(archive: zipfile.ZipFile, path: Path, mask: bool, voxels: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    there = [name.removesuffix(".npy") for name in archive.namelist()]
    found = [each for each in there if each in _NAMES[mask]]
    if len(found) != 1:
        what = "mask" if mask else "image"
        said = f"{' and '.join(found)}, and one is the {what}" if found else f"{some(there)}, and no {what}"
        raise CaseError("E_READ", f"{path} holds {said}: {' or '.join(_NAMES[mask])}.")
    (name,) = found
    values = _member(archive, name, path, voxels)
    spacing = _member(archive, "spacing", path, voxels=True, most=3) if "spacing" in there else None
    return values, spacing


def _member(archive: zipfile.ZipFile, name: str, path: Path, voxels: bool, most: int | None = None) -> NDArray[Any]:
    """An array of an archive, once its promises are looked at; no pickles.

    Args:
        most: numbers that it may have; None: as many as a volume.
    """
    with archive.open(f"{name}.npy") as stream:
        if npy.read_magic(stream) != (1, 0):  # the others are for names of fields, and may be of any length
            raise ValueError(f"{name} has a header of another version than plain numbers have")
        shape, _, kind = npy.read_array_header_1_0(stream)
        require_fair(shape, path)
        if most is not None and math.prod(shape) > most:
            raise ValueError(f"{name} has {shape} numbers")
        if kind.kind not in "iufb":
            raise CaseError("E_DIMS", f"{path} holds {kind} in {name}: give plain numbers.")
    if not voxels:
        return grid(shape)
    with archive.open(f"{name}.npy") as stream:  # to its end, where its checksum is verified
        found = npy.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError(f"{name} is longer than it says")
        return np.asarray(found)
