"""NIfTI volumes to slices: canonical orientation, one window for the whole volume, pictures the right way up."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Axis, NonFinite, Volume
from salip_exp.data.images import binary
from salip_exp.errors import CaseError

SUFFIXES = (".nii", ".nii.gz")
AXES = {Axis.sagittal: 0, Axis.coronal: 1, Axis.axial: 2}
MAX_VOXELS = 2**31
"""Volumes that promise more are refused before memory is taken."""
CORRUPT = (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError)


@dataclass(frozen=True)
class Slices:
    """A volume in canonical (RAS+) axes, ready to be cut.

    Attributes:
        values: (X, Y, Z), of the file's kind.
        zooms: millimetres per voxel along X, Y, Z.
        affine: float64 (4, 4).
    """

    values: NDArray[Any]
    zooms: tuple[float, float, float]
    affine: NDArray[np.float64]

    def cut(self, axis: Axis, index: int) -> NDArray[Any]:
        """A slice the right way up: superior on top; axial, anterior on top."""
        return np.rot90(self.values.take(index, AXES[axis]))

    def spacing(self, axis: Axis) -> tuple[float, float]:
        """Millimetres per pixel (row, column) of a slice."""
        across, up = (zoom for number, zoom in enumerate(self.zooms) if number != AXES[axis])
        return up, across


def read_volume(path: Path) -> Slices:
    """A 3-D volume, reoriented to RAS+; a 2-D image is a volume of one axial slice.

    Raises:
        CaseError: E_READ, E_DIMS or E_SIZE.
    """
    try:
        image: Any = nib.load(path)
        shape = image.shape
        if int(np.prod(shape, dtype=object)) > MAX_VOXELS:
            raise CaseError("E_SIZE", f"{path} promises {' x '.join(map(str, shape))} voxels: more than {MAX_VOXELS}.")
        if any(length != 1 for length in shape[3:]):
            raise CaseError("E_DIMS", f"{path} has the dimensions {shape}: give one 3-D volume per file.")
        values = np.asanyarray(image.dataobj).reshape(*shape[:3], *(1,) * (3 - len(shape[:3])))
    except CORRUPT as error:
        raise CaseError("E_READ", f"{path} cannot be read as NIfTI ({_short(error)}): get the file again.") from error
    canonical: Any = nib.as_closest_canonical(nib.Nifti1Image(values, image.affine, dtype=values.dtype))
    zooms = tuple(float(zoom) for zoom in canonical.header.get_zooms()[:3])
    return Slices(np.asarray(canonical.dataobj), zooms, np.asarray(canonical.affine))  # type: ignore[arg-type]


def read_target(path: Path, label: int | None) -> Slices:
    """A mask volume as bool; the last one is kept, so that its slices do not read it again.

    Raises:
        CaseError: E_LABELS, or from `read_volume`.
    """
    return _target(path, path.stat().st_mtime_ns, label)


@lru_cache(maxsize=1)
def _target(path: Path, modified: int, label: int | None) -> Slices:
    volume = read_volume(path)
    return Slices(binary(volume.values, path, label), volume.zooms, volume.affine)


def read_windowed(path: Path, config: Volume) -> Slices:
    """A volume whose voxels are uint8, by percentiles of its own non-zero voxels; the last one is kept.

    Raises:
        CaseError: E_NONFINITE, or from `read_volume`.
    """
    key = (config.window_low, config.window_high, str(config.non_finite))
    return _windowed(path, path.stat().st_mtime_ns, *key)


@lru_cache(maxsize=1)
def _windowed(path: Path, modified: int, low: float, high: float, non_finite: str) -> Slices:
    volume = read_volume(path)
    values = np.asarray(volume.values, np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        if non_finite == NonFinite.fail:
            raise CaseError(
                "E_NONFINITE",
                f"{path} holds {int(bad.sum())} NaN or infinite voxels: mend it, or set dataset.volume.non_finite=replace.",
            )
        values[bad] = 0
    return Slices(window(values, low, high), volume.zooms, volume.affine)


def window(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Values between two percentiles of the non-zero ones as 0 to 255; a constant volume is black."""
    seen = values[values != 0]
    if not seen.size:
        return np.zeros(values.shape, np.uint8)
    bottom, top = np.percentile(seen, [low, high])
    bottom = min(float(bottom), 0.0) if (values < 0).any() else float(bottom)
    if top <= bottom:
        return np.zeros(values.shape, np.uint8)
    return np.round(np.clip((values - bottom) / (top - bottom), 0, 1) * 255).astype(np.uint8)


def require_same_grid(image: Slices, mask: Slices, path: Path) -> None:
    """Raise E_SHAPE or E_AFFINE where a mask does not lie on its image's grid."""
    if image.values.shape != mask.values.shape:
        raise CaseError("E_SHAPE", f"{path}: the mask is {mask.values.shape}, its image {image.values.shape} voxels.")
    if not np.allclose(image.affine, mask.affine, atol=0.05):
        raise CaseError("E_AFFINE", f"{path}: mask and image lie differently in space (affines differ); resample one.")


def slice_numbers(volume: Slices, config: Volume, target: bool) -> list[int]:
    """Numbers of the slices to take along the axis.

    Args:
        volume: the mask, or the image where there is none.
        target: whether it is a mask; without one, or with skip_empty off, the extent is the whole axis.
    """
    axis = AXES[config.axis]
    taken = np.arange(volume.values.shape[axis])
    if target and config.skip_empty:
        taken = np.flatnonzero(volume.values.any(axis=tuple({0, 1, 2} - {axis})))
    if len(taken):
        trim = config.trim_mm / volume.zooms[axis]
        taken = taken[(taken >= taken[0] + trim) & (taken <= taken[-1] - trim)]
    if config.per_volume is not None and len(taken) > config.per_volume:
        taken = taken[np.round(np.linspace(0, len(taken) - 1, config.per_volume)).astype(int)]
    return [int(number) for number in taken]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
