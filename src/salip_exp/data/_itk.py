"""NRRD and MetaImage, read by SimpleITK, which is an extra."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from salip_exp._files import open_file
from salip_exp.data._stored import Stored, from_lps, grid, reading, require_fair
from salip_exp.errors import CaseError, EnvironmentFault

ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
_MOST = 4 << 30
_BESIDE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
"""The line of a header that names the file of its voxels."""
_PACKED = re.compile(rb"^CompressedDataSize\s*=\s*(\d{1,15})", re.MULTILINE)


def read(path: Path, voxels: bool = True) -> Stored:
    """The volume of a file.

    Args:
        voxels: whether they are read; without, all are zero.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS, or E_PATH for a header whose voxels do not lie beside it.
        EnvironmentFault: SimpleITK is not installed.
    """
    with reading(path, "NRRD or MetaImage"):
        sitk = _simple_itk()
        left, promised = _beside(path)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        shape, parts = reader.GetSize(), reader.GetNumberOfComponents()
        if not 2 <= len(shape) <= 3 or parts != 1:
            dimensions = " x ".join(map(str, shape))
            raise CaseError(
                "E_DIMS", f"{path} is {dimensions} of {parts} numbers: give one 3-D volume of plain numbers."
            )
        require_fair(shape, path)
        if promised is None and path.suffix.lower() in (".mha", ".mhd"):
            one = sitk.Image([1] * len(shape), reader.GetPixelIDValue())
            promised = math.prod(shape) * one.GetSizeOfPixelComponent()
        if promised is not None and left < promised:
            raise ValueError(f"it is cut short: {left} of {promised} bytes")
        affine = _affine(reader, len(shape))
        whole = (*shape, 1)[:3]
        return Stored(sitk.GetArrayFromImage(reader.Execute()).T.reshape(whole) if voxels else grid(whole), affine)


def _affine(reader: Any, dimensions: int) -> Any:
    turn, size, origin = np.eye(3), np.ones(3), np.zeros(3)
    turn[:dimensions, :dimensions] = np.reshape(reader.GetDirection(), (dimensions, dimensions))
    size[:dimensions], origin[:dimensions] = reader.GetSpacing(), reader.GetOrigin()
    return from_lps([*(turn * size).T, origin])


def _beside(path: Path) -> tuple[int, int | None]:
    """How many bytes there are for voxels, and how many a MetaImage header promises that compresses them.

    ITK itself tells the terminal what is missing. Every file is opened as those of others are.

    Raises:
        CaseError: E_PATH, the header names files elsewhere.
    """
    with open_file(path, _MOST) as stream:
        start = stream.read(1 << 16)
        size = stream.seek(0, 2)
    named = _BESIDE.search(start)
    if named is None or named[1].strip().upper() == b"LOCAL":
        left = size - (0 if named is None else named.end() + 1)
    else:
        name = named[1].strip().decode("utf-8", "replace")
        if Path(name).name != name or "%" in name or name.upper().startswith("LIST"):
            raise CaseError("E_PATH", f"{path} names its voxels {name!r}: one file beside it, or in it, is read.")
        with open_file(path.with_name(name), _MOST) as stream:
            left = stream.seek(0, 2)
    promised = _PACKED.search(start)
    return left, None if promised is None else int(promised[1])


def _simple_itk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise EnvironmentFault("NRRD and MetaImage are read by an extra: pip install 'salip_exp[itk]'") from error
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()  # type: ignore[no-untyped-call]
    return SimpleITK
