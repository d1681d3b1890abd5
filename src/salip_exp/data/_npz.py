"""NPZ archives that hold an image and its mask, as MedSAM has them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from salip_exp._files import PICTURE, open_file
from salip_exp.data._stored import UNSIZED, Stored, from_lps, grid, reading, require_fair
from salip_exp.errors import CaseError

ENDING = ".npz"
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
        notes = (UNSIZED,) if spacing is None else ()
        return Stored(values.transpose(2, 1, 0), from_lps([*np.diag(size), np.zeros(3)]), notes)


def read_flat(path: Path, mask: bool) -> NDArray[Any]:
    """A picture (rows, columns[, colours]) or its mask (rows, columns)."""
    with reading(path, "NPZ"):
        return _array(path, mask, voxels=True)[0]


def _array(path: Path, mask: bool, voxels: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The array of an image or a mask, zero where voxels are not wanted, and the spacing, if there is one."""
    with open_file(path, PICTURE) as stream, zipfile.ZipFile(stream) as archive:
        there = [name.removesuffix(".npy") for name in archive.namelist()]
        name = next((each for each in _NAMES[mask] if each in there), None)
        if name is None:
            what = "mask" if mask else "image"
            raise CaseError("E_READ", f"{path} holds {', '.join(there)}, and no {what}: {' or '.join(_NAMES[mask])}.")
        values = _member(archive, name, path, voxels)
        return values, _member(archive, "spacing", path, voxels=True) if "spacing" in there else None


def _member(archive: zipfile.ZipFile, name: str, path: Path, voxels: bool) -> NDArray[Any]:
    """An array of an archive, once its promises are looked at; no pickles."""
    with archive.open(f"{name}.npy") as stream:
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, kind = read_header(stream)
        require_fair(shape, path)
        if kind.kind not in "iufb":
            raise CaseError("E_DIMS", f"{path} holds {kind} in {name}: give plain numbers.")
    if not voxels:
        return grid(shape)
    with archive.open(f"{name}.npy") as stream:  # to its end, where its checksum is verified
        found = npy.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError(f"{name} is longer than it says")
        return np.asarray(found)
