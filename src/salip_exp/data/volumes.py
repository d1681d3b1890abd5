"""Volumes to slices: canonical orientation, one window, pictures the right way up."""

from __future__ import annotations

import gzip
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import cv2
import nibabel as nib
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from salip_exp._files import open_file
from salip_exp._wording import many
from salip_exp.config import Axis, NonFinite, Volume, Windowed
from salip_exp.data import _dicom as dicom
from salip_exp.data import _itk as itk
from salip_exp.data import _npz as npz
from salip_exp.data import _ome as ome
from salip_exp.data._labels import finite, target
from salip_exp.data._left_out import Taken
from salip_exp.data._stored import MAX_VOXELS, UNSIZED, Stored, grid, is_square, reading
from salip_exp.data._windows import HEADER, between, by_percentiles, limits
from salip_exp.data.paths import PICTURES, VOLUMES
from salip_exp.errors import CaseError

_KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
"""By the size of the header, which stands at its start."""
_GZIP = b"\x1f\x8b"
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Of the units of length in a header: unknown, metre, millimetre, micrometre."""
_APART = 0.25
"""Voxels that the corners of a mask may lie away from those of its image."""
_AXES = {Axis.sagittal: 0, Axis.coronal: 1, Axis.axial: 2}
MAX_BYTES = 4 << 30
"""Of a volume's file: twice what the voxels below can take."""
MAX_EXTENSIONS = 4 << 20
"""Of header and extensions, which programs keep notes in; each of them becomes an object."""
_UNPLACED = "neither qform nor sform: columns taken to go left, rows anterior, slices superior"
_MAX_ZOOM = 1e4
"""Voxels of more millimetres, or less than the inverse, are no measurement."""
_AIR = -900
"""Hounsfield units: numbers below are those of a CT, more likely than not."""
_UNWINDOWED = (
    "looks like a CT in percentiles: dataset.volume.window=soft_tissue, lung, bone or brain shows organs better"
)
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
        file_affine: float64 (4, 4) of the axes as the file has them, in millimetres; None: they are canonical.
        header_window: numbers that the header wants to be black and white; None where it names none.
        inverted: the header wants its lowest number to be white.
    """

    values: NDArray[Any]
    zooms: tuple[float, float, float]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    file_affine: NDArray[np.float64] | None = None
    header_window: tuple[float, float] | None = None
    inverted: bool = False

    def axis(self, wanted: Axis) -> Axis:
        """The axis to cut along: the wanted one, but a volume that is one slice is never cut across."""
        thin = [axis for axis, number in _AXES.items() if self.values.shape[number] == 1]
        return thin[0] if len(thin) == 1 else wanted

    def depth(self, axis: Axis) -> int:
        """How many slices there are along an axis."""
        return int(self.values.shape[_AXES[axis]])

    def cut(self, axis: Axis, index: int, mirrored: bool = False) -> NDArray[Any]:
        """A slice the right way up: superior on top; axial, anterior on top.

        Args:
            mirrored: the patient's left lies on the right, as radiologists look at axial and coronal slices.
        """
        upright: NDArray[Any] = np.rot90(self.values.take(index, _AXES[axis]))
        return upright[:, ::-1] if mirrored else upright

    def uncut(self, axis: Axis, slices: Mapping[int, NDArray[np.bool_]], mirrored: bool = False) -> NDArray[np.bool_]:
        """Masks of slices (H, W), as `cut` gives them, by their index, as one volume in the axes of the file.

        Slices that are not given are empty. Its affine is `file_affine`.
        """
        whole = np.zeros(self.values.shape, bool)
        for index, mask in slices.items():
            np.moveaxis(whole, _AXES[axis], 0)[index] = np.rot90(mask[:, ::-1] if mirrored else mask, -1)
        own = orientations.io_orientation(self.affine if self.file_affine is None else self.file_affine)
        canonical = np.array([[0, 1], [1, 1], [2, 1]])
        return np.ascontiguousarray(
            orientations.apply_orientation(whole, orientations.ornt_transform(canonical, own)), bool
        )

    def spacing(self, axis: Axis) -> tuple[float, float] | None:
        """Millimetres per pixel (row, column) of a slice; None where they are unknown or its axes askew."""
        if UNSIZED in self.notes or self.is_askew(axis):
            return None
        across, up = (zoom for number, zoom in enumerate(self.zooms) if number != _AXES[axis])
        return up, across

    def is_askew(self, axis: Axis) -> bool:
        """Whether rows and columns of slices are at no right angle to each other."""
        return not is_square(self.affine, [number for number in range(3) if number != _AXES[axis]])


def _is_nifti(path: Path) -> bool:
    """Whether a file is named as NIfTI."""
    return path.name.lower().endswith(VOLUMES)


def is_volume(path: Path) -> bool:
    """Whether a file is a volume, or one of the files of one, and no picture.

    Raises:
        CaseError: it must be looked into for this, and cannot be read.
    """
    ending = path.suffix.lower()
    if _is_nifti(path) or ending in itk.ENDINGS:
        return True
    if ending == npz.ENDING or ome.is_ome(path):
        return npz.is_stack(path) if ending == npz.ENDING else ome.is_stack(path)
    return ending not in PICTURES and dicom.is_dicom(path) and dicom.is_stack(path)


def read_volume(path: Path, like: Path | None = None, mask: bool = False) -> Slices:
    """A 3-D volume, reoriented to RAS+; a 2-D image is a volume of one axial slice.

    The file is read to its end, and what is compressed to its checksum, whatever its name says of compression.

    Args:
        like: a volume whose header says where the voxels lie, in place of the file's own.
        mask: of a file that holds an image and its mask, the mask is wanted.

    Raises:
        CaseError: E_READ, E_DIMS, E_SIZE, E_FORMAT, E_AFFINE where the header does not say how the voxels lie, or
            E_SHAPE where `like` is of another shape.
    """
    stored = _stored(path, mask=mask)
    if like is not None:
        placed = _stored(like, voxels=False)
        if placed.values.shape != stored.values.shape or _form(like) != _form(path):
            raise CaseError(
                "E_SHAPE", f"{path} is not of the shape and kind of {like}: give a mask of the same voxels."
            )
        stored = replace(stored, affine=placed.affine, notes=placed.notes)
    return _canonical(stored, path)


def read_grid(path: Path) -> Slices:
    """The grid of a volume as its header tells it; every voxel is zero and takes no memory.

    Raises:
        CaseError: as from `read_volume`, but for what only the voxels tell.
    """
    return _canonical(_stored(path, voxels=False), path)


def _form(path: Path) -> str:
    """The format of a volume's file: `dicom`, `itk`, `npz`, `ome` or `nifti`."""
    ending = path.suffix.lower()
    if ome.is_ome(path):
        return "ome"
    if ending in itk.ENDINGS or ending == npz.ENDING:
        return "npz" if ending == npz.ENDING else "itk"
    return "dicom" if not _is_nifti(path) and dicom.is_dicom(path) else "nifti"


def _stored(path: Path, voxels: bool = True, mask: bool = False) -> Stored:
    form = _form(path)
    if form == "dicom":
        return dicom.read(path, voxels)
    if form in ("itk", "ome"):
        return itk.read(path, voxels) if form == "itk" else ome.read(path, voxels)
    return npz.read(path, voxels, mask) if form == "npz" else _nifti(path, voxels)


def read_header(path: Path) -> Any:
    """The geometry of a volume as nibabel's header: a file's own, or for other formats one with its affine.

    Raises:
        CaseError: as from `read_grid`.
    """
    if _form(path) == "nifti":
        with _reading(path) as (stream, most):
            return _header(stream, most, path)[0]
    stored = _stored(path, voxels=False)
    header = nib.Nifti1Header()
    header.set_data_shape(stored.values.shape)
    header.set_qform(stored.affine, 1)
    header.set_sform(stored.affine, 1)
    header.set_xyzt_units("mm")
    return header


def _nifti(path: Path, voxels: bool) -> Stored:
    with _reading(path) as (stream, most):
        header, start = _header(stream, most, path)
        affine, notes = _placed(header, start, path)
        shown = float(header["cal_min"]), float(header["cal_max"])
        values = grid(header.get_data_shape())
        if voxels:
            content = _voxels(header, start, stream, path)
            values = np.asanyarray(_KINDS[len(header.binaryblock)].from_bytes(content).dataobj)
        window = shown if -np.inf < shown[0] < shown[1] < np.inf else None
        return Stored(values.reshape((*values.shape, 1)[:3]), affine, notes, window)


@contextmanager
def _reading(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """As `_unpacked`; turns what nibabel raises into E_READ, and keeps what it logs off the terminal."""
    nib.imageglobals.logger.setLevel(logging.CRITICAL + 1)
    with reading(path, "NIfTI"), _unpacked(path) as found:
        yield found


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The bytes of a NIfTI file, unpacked where they are gzip whatever it is called, and how many there can be.

    Python's gzip goes through all members, and raises where a checksum or a length is wrong, a trailer is cut, or
    something else follows.
    """
    with open_file(path, MAX_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        packed = file.read(2) == _GZIP
        file.seek(0)
        if not packed:
            yield file, size
            return
        with gzip.GzipFile(fileobj=file) as stream:
            yield cast(BinaryIO, stream), size * _MAX_DEFLATION


def _header(stream: BinaryIO, most: int, path: Path) -> tuple[Any, bytes]:
    """A header whose promises can be kept, and its bytes; no voxel is read.

    Args:
        most: bytes that the stream can give.
    """
    first = stream.read(4)
    size = next((size for size in _KINDS if first in (size.to_bytes(4, "little"), size.to_bytes(4, "big"))), None)
    if size is None:
        raise CaseError("E_READ", f"{path} cannot be read as NIfTI (it has no such header): get the file again.")
    raw = first + stream.read(size - 4)
    header = _KINDS[size].header_class(raw)
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    dimensions = " x ".join(map(str, shape))
    if len(shape) < 2 or min(shape) < 1 or any(length != 1 for length in shape[3:]) or kind.kind not in "iufb":
        raise CaseError("E_DIMS", f"{path} is {dimensions} of {kind}: give one 3-D volume of plain numbers per file.")
    voxels = int(np.prod(shape, dtype=object))
    if voxels > MAX_VOXELS:
        raise CaseError("E_SIZE", f"{path} promises {dimensions} voxels: the limit is {MAX_VOXELS} in all.")
    if voxels * kind.itemsize > most:
        raise CaseError("E_READ", f"{path} is cut short: its header promises {dimensions} voxels. Get the file again.")
    if np.isinf([header["scl_slope"], header["scl_inter"]]).any():
        raise CaseError("E_NONFINITE", f"{path}: its header scales the voxels by infinity; mend the header.")
    return header, raw


def _voxels(header: Any, start: bytes, stream: BinaryIO, path: Path) -> bytes:
    """All bytes of a file, which must be as many as its header promises; a compressed one is proven by its checksum."""
    shape = header.get_data_shape()
    size = int(header["vox_offset"]) + math.prod(shape) * int(header.get_data_dtype().itemsize)
    dimensions = " x ".join(map(str, shape))
    if size > MAX_BYTES:
        raise CaseError("E_SIZE", f"{path} promises {size} bytes: the limit is {MAX_BYTES}.")
    if int(header["vox_offset"]) > MAX_EXTENSIONS:
        raise CaseError(
            "E_SIZE",
            f"{path} has {int(header['vox_offset']):,} bytes before its voxels: the limit is {MAX_EXTENSIONS:,}.",
        )
    content = start + stream.read(size - len(start)) + stream.read(1)
    if len(content) < size:
        raise CaseError("E_READ", f"{path} is cut short: its header promises {dimensions} voxels. Get the file again.")
    if len(content) > size:
        raise CaseError("E_DIMS", f"{path} holds more than the {dimensions} voxels of its header: mend that.")
    return content


def _placed(header: Any, raw: bytes, path: Path) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Where a header says that the voxels lie, in millimetres, and a note where it says nothing, or two things.

    NaN along axes to which it gives voxels of no size, of which nibabel makes 1.
    """
    unit = int(header["xyzt_units"]) & 7
    if unit not in _MILLIMETRES:
        raise CaseError("E_AFFINE", f"{path}: its unit of length has the number {unit}, which NIfTI does not know.")
    affine = np.array(header.get_best_affine(), np.float64)
    affine[:3] *= _MILLIMETRES[unit]
    if header["sform_code"] == 0:
        sizes = type(header)(raw, check=False)["pixdim"][1:4]
        affine[:3, :3][:, (sizes == 0) & (header["dim"][1:4] > 1)] = np.nan
    forms = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    if all(each is None for each in forms):
        return affine, (_UNPLACED,)
    return affine, () if any(each is None for each in forms) or _alike(*forms) else (
        "qform and sform differ: sform taken",
    )


def _alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two affines turn axes the same way and give voxels one size to a hundredth."""
    turn, other_turn = (orientations.io_orientation(each) for each in (one, other))
    size, other_size = (nib.affines.voxel_sizes(each) for each in (one, other))
    return np.array_equal(turn, other_turn, equal_nan=True) and np.allclose(size, other_size, rtol=0.01)


def _canonical(stored: Stored, path: Path) -> Slices:
    affine, shape = stored.affine, stored.values.shape
    turn = orientations.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if np.isnan(turn).any():
        raise CaseError("E_AFFINE", f"{path}: its affine does not say how the voxels lie in space; mend the header.")
    turned = orientations.apply_orientation(stored.values, turn)
    canonical = affine @ orientations.inv_ornt_aff(turn, shape)
    x, y, z = (float(zoom) for zoom in nib.affines.voxel_sizes(canonical))
    if not all(1 / _MAX_ZOOM <= zoom <= _MAX_ZOOM for zoom in (x, y, z)):
        raise CaseError("E_AFFINE", f"{path}: its voxels are {x:g} x {y:g} x {z:g} mm large; mend the header.")
    return Slices(turned, (x, y, z), canonical, stored.notes, affine, stored.window, stored.inverted)


def read_target(path: Path, label: int | None, like: Path | None = None) -> Slices:
    """A mask volume as bool; the last one is kept, so that its slices do not read it again.

    Args:
        label: the number that is the target.
        like: the image, where that says how the mask's voxels lie (dataset.volume.mask_affine=ignore).

    Raises:
        CaseError: E_LABELS, E_NONFINITE, or from `read_volume`.
    """
    return _target(path, _modified(path), label, like)


@lru_cache(maxsize=1)
def _target(path: Path, modified: int, label: int | None, like: Path | None) -> Slices:
    volume = read_volume(path, like, mask=True)
    values, said = target(volume.values, path, label)
    return replace(volume, values=values, notes=said)


def read_windowed(path: Path, config: Volume) -> Slices:
    """A volume whose voxels are uint8, as its window shows them (`windows`); the last one is kept.

    Raises:
        CaseError: E_NONFINITE, E_WINDOW where the header is to name a window and does not, or from `read_volume`.
    """
    sliced = config.axis if config.window_of is Windowed.slice else None
    how = _How(config.window_low, config.window_high, limits(config.window), config.window == HEADER, sliced)
    return _windowed(path, _modified(path), how, str(config.non_finite))


class _How(NamedTuple):
    """The window of a volume: percentiles, of each slice along an axis if one is given, or numbers, or the header's."""

    low: float
    high: float
    limits: tuple[float, float] | None
    header: bool
    sliced: Axis | None

    def show(self, volume: Slices, values: NDArray[np.float64], path: Path) -> NDArray[np.uint8]:
        """Values of a volume as uint8."""
        found = volume.header_window if self.header else self.limits
        if self.header and found is None:
            raise CaseError("E_WINDOW", f"{path}: its header names no window: set dataset.volume.window=[LOW,HIGH].")
        if found is not None:
            return between(values, *found)
        if self.sliced is None:
            return by_percentiles(values, self.low, self.high)
        axis = _AXES[volume.axis(self.sliced)]
        return np.stack([_of_slice(each, self.low, self.high) for each in np.moveaxis(values, axis, 0)], axis)


@lru_cache(maxsize=1)
def _windowed(path: Path, modified: int, how: _How, non_finite: str) -> Slices:
    volume = read_volume(path)
    values = np.array(volume.values, np.float64)
    bad = ~finite(values)
    count = int(bad.sum())
    if count and non_finite == NonFinite.fail:
        raise CaseError(
            "E_NONFINITE",
            f"{path} holds {many(count, 'NaN or infinite voxel')}: mend it, or set dataset.volume.non_finite=replace.",
        )
    values[bad] = 0
    notes = [f"{many(count, 'NaN or infinite voxel')} of the volume replaced by 0"] if count else []
    if how.limits is None and not how.header and values.min() <= _AIR:
        notes.append(_UNWINDOWED)
    shown = how.show(volume, values, path)
    return replace(volume, values=255 - shown if volume.inverted else shown, notes=(*volume.notes, *notes))


def _modified(path: Path) -> int:
    """Time stamp of a file: part of what its cached voxels are known by."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise CaseError("E_READ", f"{path} cannot be read ({error.strerror}): get the file again.") from error


def _of_slice(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """A slice (H, W) between two percentiles of all its voxels as 0 to 255; a constant slice is black.

    Rounded in float32 as `cv2.normalize` does it, which the authors call.
    """
    bottom, top = np.percentile(values, [low, high])
    clipped = values.clip(bottom, top).astype(np.float32)
    return np.asarray(cv2.normalize(clipped, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U), np.uint8)  # type: ignore[call-overload]


def require_same_grid(image: Slices, mask: Slices, path: Path) -> None:
    """Raise E_SHAPE or E_AFFINE where a mask does not lie on its image's grid."""
    if image.values.shape != mask.values.shape:
        raise CaseError("E_SHAPE", f"{path}: the mask is {mask.values.shape}, its image {image.values.shape} voxels.")
    corners = np.array([(*corner, 1) for corner in product(*((0, length - 1) for length in image.values.shape))]).T
    apart = np.abs((np.linalg.inv(image.affine) @ mask.affine @ corners - corners)[:3]).max()
    if apart > _APART:
        raise CaseError(
            "E_AFFINE",
            f"{path}: mask and image lie differently in space, by up to {apart:.3g} voxels (affines differ): resample "
            "one, or where the mask's is known to be wrong, set dataset.volume.mask_affine=ignore.",
        )


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
    inner = full[config.trim_slices : len(full) - config.trim_slices] if slices > 1 else full
    if len(inner) and slices > 1:
        trim = config.trim_mm / volume.zooms[axis]
        inner = inner[(inner >= full[0] + trim) & (inner <= full[-1] - trim)]
    taken = inner
    if config.per_volume is not None and len(inner) > config.per_volume:
        taken = inner[np.round(np.linspace(0, len(inner) - 1, config.per_volume)).astype(int)]
    counts = slices - len(full), len(full) - len(inner), len(inner) - len(taken)
    return Taken(tuple(taken.tolist()), slices, *counts)
