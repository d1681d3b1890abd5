"""NIfTI volumes to slices: canonical orientation, one window for the whole volume, pictures the right way up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from salip_exp._files import TooLarge, open_file
from salip_exp.config import Axis, NonFinite, Volume
from salip_exp.data.images import short
from salip_exp.data.labels import finite, target
from salip_exp.data.left_out import Taken
from salip_exp.errors import CaseError

SUFFIXES = (".nii", ".nii.gz")
_AXES = {Axis.sagittal: 0, Axis.coronal: 1, Axis.axial: 2}
MAX_BYTES = 4 << 30
"""Of a volume's file: twice what the voxels below can take."""
_MAX_VOXELS = 2**28
"""Volumes that promise more are refused before memory is taken."""
_MAX_ZOOM = 1e4
"""Voxels of more millimetres, or less than the inverse, are no measurement."""
_MAX_DEFLATION = 1100
"""Gzip shrinks nothing by a larger factor: a file that promises more is cut short or a trap."""


@dataclass(frozen=True)
class Slices:
    """A volume in canonical (RAS+) axes, ready to be cut.

    Attributes:
        values: (X, Y, Z), of the file's kind.
        zooms: millimetres per voxel along X, Y, Z.
        affine: float64 (4, 4).
        notes: what was done to the values that a user should know.
    """

    values: NDArray[Any]
    zooms: tuple[float, float, float]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def axis(self, wanted: Axis) -> Axis:
        """The axis to cut along: the wanted one, but a volume that is one slice is never cut across."""
        thin = [axis for axis, number in _AXES.items() if self.values.shape[number] == 1]
        return thin[0] if len(thin) == 1 else wanted

    def cut(self, axis: Axis, index: int) -> NDArray[Any]:
        """A slice the right way up: superior on top; axial, anterior on top."""
        return np.rot90(self.values.take(index, _AXES[axis]))

    def spacing(self, axis: Axis) -> tuple[float, float]:
        """Millimetres per pixel (row, column) of a slice."""
        across, up = (zoom for number, zoom in enumerate(self.zooms) if number != _AXES[axis])
        return up, across


def is_volume(path: Path) -> bool:
    """Whether a file is named as NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def read_volume(path: Path) -> Slices:
    """A 3-D volume, reoriented to RAS+; a 2-D image is a volume of one axial slice.

    Raises:
        CaseError: E_READ, E_DIMS, E_SIZE, or E_AFFINE where the header does not say how the voxels lie.
    """
    with _reading(path):
        image = _opened(path)
        return _canonical(np.asanyarray(image.dataobj), image.affine, path)


def read_grid(path: Path) -> Slices:
    """The grid of a volume as its header tells it; every voxel is zero and takes no memory.

    Raises:
        CaseError: as from `read_volume`.
    """
    with _reading(path):
        image = _opened(path)
        return _canonical(np.broadcast_to(np.uint8(0), image.shape), image.affine, path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what nibabel raises into E_READ, and keep what it logs off the terminal."""
    try:
        with nib.imageglobals.LoggingOutputSuppressor(), np.errstate(all="ignore"):
            yield
    except CaseError:
        raise
    except TooLarge as error:
        raise CaseError("E_SIZE", f"{path} is too large: {error}.") from error
    except Exception as error:  # headers of damaged files raise almost anything
        raise CaseError("E_READ", f"{path} cannot be read as NIfTI ({short(error)}): get the file again.") from error


def _opened(path: Path) -> Any:
    """The image of a header whose promises can be kept; no voxel is read."""
    with open_file(path, MAX_BYTES) as stream:
        size = os.fstat(stream.fileno()).st_size
    image: Any = nib.load(path)
    shape, kind = image.shape, image.get_data_dtype()
    dimensions = " x ".join(map(str, shape))
    if len(shape) < 2 or min(shape) < 1 or any(length != 1 for length in shape[3:]) or kind.kind not in "iufb":
        raise CaseError("E_DIMS", f"{path} is {dimensions} of {kind}: give one 3-D volume of plain numbers per file.")
    voxels = int(np.prod(shape, dtype=object))
    if voxels > _MAX_VOXELS:
        raise CaseError("E_SIZE", f"{path} promises {dimensions} voxels: the limit is {_MAX_VOXELS} in all.")
    packed = _MAX_DEFLATION if path.name.lower().endswith(".gz") else 1
    if voxels * kind.itemsize > size * packed:
        raise CaseError("E_READ", f"{path} is cut short: its header promises {dimensions} voxels. Get the file again.")
    return image


def _canonical(values: NDArray[Any], affine: NDArray[np.float64], path: Path) -> Slices:
    shape = (*values.shape, 1)[:3]
    turn = orientations.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if np.isnan(turn).any():
        raise CaseError("E_AFFINE", f"{path}: its affine does not say how the voxels lie in space; mend the header.")
    turned = orientations.apply_orientation(values.reshape(shape), turn)
    affine = affine @ orientations.inv_ornt_aff(turn, shape)
    x, y, z = (float(zoom) for zoom in nib.affines.voxel_sizes(affine))
    if not all(1 / _MAX_ZOOM <= zoom <= _MAX_ZOOM for zoom in (x, y, z)):
        raise CaseError("E_AFFINE", f"{path}: its voxels are {x:g} x {y:g} x {z:g} mm large; mend the header.")
    return Slices(turned, (x, y, z), affine)


def read_target(path: Path, label: int | None) -> Slices:
    """A mask volume as bool; the last one is kept, so that its slices do not read it again.

    Raises:
        CaseError: E_LABELS, E_NONFINITE, or from `read_volume`.
    """
    return _target(path, _modified(path), label)


@lru_cache(maxsize=1)
def _target(path: Path, modified: int, label: int | None) -> Slices:
    volume = read_volume(path)
    values, said = target(volume.values, path, label)
    return replace(volume, values=values, notes=(*volume.notes, *said))


def read_windowed(path: Path, config: Volume) -> Slices:
    """A volume whose voxels are uint8, by percentiles of its own non-zero voxels; the last one is kept.

    Raises:
        CaseError: E_NONFINITE, or from `read_volume`.
    """
    key = (config.window_low, config.window_high, str(config.non_finite))
    return _windowed(path, _modified(path), *key)


@lru_cache(maxsize=1)
def _windowed(path: Path, modified: int, low: float, high: float, non_finite: str) -> Slices:
    volume = read_volume(path)
    values = np.array(volume.values, np.float64)
    bad = ~finite(values)
    count = int(bad.sum())
    if count and non_finite == NonFinite.fail:
        raise CaseError(
            "E_NONFINITE",
            f"{path} holds {count} NaN or infinite voxels: mend it, or set dataset.volume.non_finite=replace.",
        )
    values[bad] = 0
    notes = (f"{count} NaN or infinite voxels of the volume replaced by 0",) if count else ()
    return replace(volume, values=window(values, low, high), notes=notes)


def _modified(path: Path) -> int:
    """Time stamp of a file: part of what its cached voxels are known by."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise CaseError("E_READ", f"{path} cannot be read ({error.strerror}): get the file again.") from error


def window(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Values between two percentiles of the non-zero ones as 0 to 255; a constant volume is black.

    Where the percentiles coincide, as in a volume of two values, it is from minimum to maximum.
    """
    seen = values[values != 0]
    if not seen.size:
        return np.zeros(values.shape, np.uint8)
    bottom, top = (float(each) for each in np.percentile(seen, [low, high]))
    if seen.min() < 0:
        bottom = min(bottom, 0.0)
    if top <= bottom:
        bottom, top = float(values.min()), float(values.max())
    if top <= bottom:
        return np.zeros(values.shape, np.uint8)
    return np.round(np.clip((values - bottom) / (top - bottom), 0, 1) * 255).astype(np.uint8)


def require_same_grid(image: Slices, mask: Slices, path: Path) -> None:
    """Raise E_SHAPE or E_AFFINE where a mask does not lie on its image's grid."""
    if image.values.shape != mask.values.shape:
        raise CaseError("E_SHAPE", f"{path}: the mask is {mask.values.shape}, its image {image.values.shape} voxels.")
    if not np.allclose(image.affine, mask.affine, atol=0.05):
        raise CaseError("E_AFFINE", f"{path}: mask and image lie differently in space (affines differ); resample one.")


def take_slices(volume: Slices, config: Volume, target: bool) -> Taken:
    """The slices to take along the axis, and what becomes of the others.

    Args:
        volume: the mask, or the image where there is none.
        target: whether it is a mask; without one, or with skip_empty off, the extent is the whole axis.
    """
    axis = _AXES[volume.axis(config.axis)]
    slices = volume.values.shape[axis]
    full = np.arange(slices)
    if target and config.skip_empty:
        full = np.flatnonzero(volume.values.any(axis=tuple({0, 1, 2} - {axis})))
    inner = full
    if len(full) and slices > 1:
        trim = config.trim_mm / volume.zooms[axis]
        inner = full[(full >= full[0] + trim) & (full <= full[-1] - trim)]
    taken = inner
    if config.per_volume is not None and len(inner) > config.per_volume:
        taken = inner[np.round(np.linspace(0, len(inner) - 1, config.per_volume)).astype(int)]
    counts = slices - len(full), len(full) - len(inner), len(inner) - len(taken)
    return Taken(tuple(taken.tolist()), slices, *counts)
