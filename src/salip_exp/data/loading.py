"""Images and masks to working size, on the same grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.config import (
    Axis,
    Channels,
    DatasetConfig,
    Display,
    Interpolation,
    MaskAffine,
    MaskOrder,
    Resize,
    ResizeMode,
    Side,
)
from salip_exp.data import _dicom as dicom
from salip_exp.data import _npz as npz
from salip_exp.data import _ome as ome
from salip_exp.data._labels import target as labelled
from salip_exp.data._left_out import LOST_REGIONS
from salip_exp.data._regions import loses_regions, one_side
from salip_exp.data._stored import ASKEW
from salip_exp.data.case import Case, CaseRef, SliceRefs, Source, failing
from salip_exp.data.images import read_levels, read_mask, read_picture, window
from salip_exp.data.paths import PICTURES
from salip_exp.data.volumes import Slices, read_grid, read_target, read_windowed, require_same_grid, take_slices
from salip_exp.errors import CaseError, VanishedTarget

NOT_ON_SIDE = "the mask has no organ on the"
"""Beginning of the note on a target that is empty for `dataset.side` alone."""
_Mask = NDArray[np.bool_]
_Levels = NDArray[np.uint8]
_LARGEST = int(next(each.metadata["high"] for each in fields(Resize) if each.name == "side"))
_HALF = 127
"""Levels above it are target."""


def _working_size(height: int, width: int, config: Resize) -> tuple[int, int]:
    """Height and width after resizing; at least one pixel each."""
    if config.mode is ResizeMode.native:
        return height, width
    if config.mode is ResizeMode.squash:
        return config.side, config.side
    scale = config.side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resize_image(image: NDArray[np.uint8], config: Resize) -> NDArray[np.uint8]:
    """A uint8 image (H, W, 3) at working size."""
    height, width = _working_size(image.shape[0], image.shape[1], config)
    return np.asarray(_resampled(image, height, width, config), np.uint8)


def _resize_mask(mask: _Mask | _Levels, config: Resize) -> _Mask:
    """A mask (H, W) at working size: a pixel belongs to it where half of what it covers does.

    Levels are resized as they are, and cut at half of white.
    """
    if mask.dtype == np.uint8:
        return np.asarray(_resized_levels(mask, config) > _HALF)
    if _working_size(mask.shape[0], mask.shape[1], config) == mask.shape:
        return np.asarray(mask, bool)
    return np.asarray(_resized_levels(mask.astype(np.float32), config) >= 0.5)


def _resized_levels(levels: NDArray[Any], config: Resize) -> NDArray[Any]:
    height, width = _working_size(levels.shape[0], levels.shape[1], config)
    return _resampled(levels, height, width, config)


def _touched(mask: _Mask | _Levels, config: DatasetConfig) -> _Mask | None:
    """Where a resized mask is not zero, on the side that is asked for; None where it is cut before it is resized."""
    if config.resize.masks is MaskOrder.threshold_first:
        return None
    levels = mask if mask.dtype == np.uint8 else mask.astype(np.float32)
    return one_side(np.asarray(_resized_levels(levels, config.resize) > 0), config.side)


def native_mask(mask: _Mask, size: tuple[int, int], config: Resize) -> _Mask:
    """A mask (H, W) at working size on the grid of `size` rows and columns that its image had before.

    A pixel belongs to it where half of what it covers does.
    """
    if mask.shape == size:
        return mask
    return np.asarray(_resampled(mask.astype(np.float32), *size, config) >= 0.5)


def resize_target(target: _Mask | _Levels, config: Resize, where: str, key: str = "dataset.resize") -> _Mask:
    """A target (H, W) at working size; one that is empty stays so.

    Args:
        where: it lies, for the error.
        key: of the configuration that the size is set by.

    Raises:
        VanishedTarget: it has pixels, and none at working size: it would look like an image without the organ.
    """
    resized = _resize_mask(target, config)
    if target.any() and not resized.any():
        raise vanished(target, config, where, key)
    return resized


def vanished(target: _Mask | _Levels, config: Resize, where: str, key: str = "dataset.resize") -> VanishedTarget:
    """What to raise for a target (H, W) of which resizing leaves nothing; see `resize_target`."""
    (height, width), own = target.shape, key == "dataset.resize"
    rows, columns = _working_size(height, width, config)
    kept = _side_that_keeps(target, config, below=max(height, width) if own else _LARGEST + 1)
    remedies = [f"{key}.side={kept}"] * (kept is not None) + ["dataset.resize.mode=native"] * own
    return VanishedTarget(
        f"{where}: its target, {np.count_nonzero(target)} of {width} x {height} pixels, vanishes when they are resized "
        f"to {columns} x {rows}: set {' or '.join(remedies) or 'another working size'}.",
        kept,
    )


def _side_that_keeps(target: _Mask | _Levels, config: Resize, below: int) -> int | None:
    """The first of the doubled working sizes, less than a bound, that leaves something of a target."""
    sides = takewhile(lambda side: side < min(below, _LARGEST + 1), (config.side << n for n in count(1)))
    return next((side for side in sides if _resize_mask(target, replace(config, side=side)).any()), None)


def _resized_spacing(
    spacing: tuple[float, float] | None, before: tuple[int, int], after: tuple[int, int]
) -> tuple[float, float] | None:
    """Millimetres per pixel (row, column) after resizing."""
    if spacing is None:
        return None
    return spacing[0] * before[0] / after[0], spacing[1] * before[1] / after[1]


def _resampled(array: NDArray[Any], height: int, width: int, config: Resize) -> NDArray[Any]:
    """Shrunk as configured, then grown bilinearly: averaging over areas means nothing where an image grows."""
    smaller = min(height, array.shape[0]), min(width, array.shape[1])
    steps = [(smaller, cv2.INTER_AREA)] if config.interpolation is Interpolation.area else []
    for (rows, columns), flag in (*steps, ((height, width), cv2.INTER_LINEAR)):
        if (rows, columns) != array.shape[:2]:
            array = cv2.resize(array, (columns, rows), interpolation=flag)
    return array


def make_case(
    ref: CaseRef,
    config: DatasetConfig,
    path: Path,
    image: NDArray[np.uint8],
    mask: _Mask | _Levels | None,
    spacing: tuple[float, float] | None = None,
    facts: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
    mask_path: Path | None = None,
    axis: Axis | None = None,
) -> Case:
    """The case of a reference.

    Args:
        path: of the image.
        image: uint8 (H, W, 3) RGB as read.
        mask: bool (H, W) as read, or uint8 levels that are to be resized before they are cut, or None.
        spacing: millimetres per pixel as read.
        mask_path: of the mask.
        axis: of a volume, that it is cut along.

    Raises:
        CaseError: E_SHAPE, the mask is not of the image's size; it is never stretched to it.
        VanishedTarget: resizing leaves nothing of a target that is there.
    """
    if mask is not None and mask.shape != image.shape[:2]:
        raise CaseError("E_SHAPE", f"{path}: the image is {image.shape[:2]} pixels, its mask {mask.shape}.")
    resized = _at_working_size(image, config)
    notes = (*notes, *["constant image"] * bool(image.min() == image.max()))
    target = touched = None
    if mask is not None:
        shown = replace(config, side=_shown_side(axis, config, path))
        (target, more), touched = _target(mask, shown, path), _touched(mask, shown)
        notes = (*notes, *more)
    return Case(
        case_id=ref.case_id,
        dataset=config.name,
        group=ref.group,
        image=resized,
        mask=target,
        spacing=_resized_spacing(spacing, (image.shape[0], image.shape[1]), (resized.shape[0], resized.shape[1])),
        subject=ref.subject,
        volume=ref.volume,
        slice=ref.slice,
        facts=dict(facts or {}),
        notes=notes,
        source=Source(path, mask_path, (image.shape[0], image.shape[1]), axis, is_mirrored(axis, config)),
        touched=touched,
    )


def _at_working_size(image: NDArray[np.uint8], config: DatasetConfig) -> NDArray[np.uint8]:
    """What the networks see: resized, its channels in the configured order."""
    resized = _resize_image(image, config.resize)
    return np.ascontiguousarray(resized[:, :, ::-1]) if config.channels is Channels.bgr else resized


def is_mirrored(axis: Axis | None, config: DatasetConfig) -> bool:
    """Whether a slice is shown as radiologists look at it; in a sagittal one nothing changes."""
    return axis in (Axis.axial, Axis.coronal) and config.volume.display is Display.radiological


def _shown_side(axis: Axis | None, config: DatasetConfig, path: Path) -> Side:
    """The side as `one_side` takes it, to which the patient faces us, which is not so in a slice shown otherwise.

    Raises:
        CaseError: E_AXIS, sagittal slices show one side at a time.
    """
    if axis is None or config.side is Side.both or is_mirrored(axis, config):
        return config.side
    if axis is Axis.sagittal:
        raise CaseError(
            "E_AXIS",
            f"{path}: dataset.side={config.side} is no part of a sagittal slice: set dataset.volume.axis=axial or "
            "coronal.",
        )
    return Side.left if config.side is Side.right else Side.right


def _target(mask: _Mask | _Levels, config: DatasetConfig, path: Path) -> tuple[_Mask, tuple[str, ...]]:
    """The target of a case at working size, and a note where the mask holds an organ, but none on the side asked for.

    Raises:
        VanishedTarget: the organ that is asked for is there, and resizing leaves nothing of it.
    """
    held = np.asarray(mask > _HALF if mask.dtype == np.uint8 else mask, bool)
    if config.side is Side.both:
        target = resize_target(mask, config.resize, str(path))
        return target, (LOST_REGIONS,) * loses_regions(held, target)
    asked = one_side(held, config.side)
    target = one_side(_resize_mask(mask, config.resize), config.side)
    if asked.any() and not (target.any() and _resize_mask(asked, config.resize).any()):
        raise vanished(asked, config.resize, str(path))
    if mask.any() and not target.any():
        return target, (f"{NOT_ON_SIDE} {config.side} side",)
    return target, (LOST_REGIONS,) * loses_regions(asked, target)


def _label(config: DatasetConfig) -> int | None:
    """The number of the target in masks; readers of folders have made one of a name."""
    label = config.files.label
    assert label is None or isinstance(label, int)
    return label


def picture_ref(name: str, image: Path, mask: Path | None, config: DatasetConfig) -> CaseRef:
    """Reference to the case of one picture; its name is its subject too."""
    return CaseRef(name, config.group, name, partial(_load_picture, name, image, mask, config))


def _load_picture(name: str, image: Path, mask: Path | None, config: DatasetConfig) -> Case:
    """One picture with its mask, if it has one."""
    pixels, spacing, notes = read_pixels(image, config)
    target: _Mask | _Levels | None = None
    if mask is not None:
        read = read_mask if config.resize.masks is MaskOrder.threshold_first else read_levels
        plain = _plain_mask(mask)
        target, said = read(mask, _label(config)) if plain is None else labelled(plain, mask, _label(config))
        notes += said
    ref = picture_ref(name, image, mask, config)
    return make_case(ref, config, image, pixels, target, spacing, notes=notes, mask_path=mask)


def _plain_mask(path: Path) -> NDArray[Any] | None:
    """The numbers (H, W) of a mask in an archive or an OME-TIFF; None of other files."""
    if path.suffix.lower() == npz.ENDING:
        return npz.read_flat(path, mask=True)
    if not ome.is_ome(path):
        return None
    values, _ = ome.read_flat(path)
    if values.ndim > 2:
        raise CaseError("E_LABELS", f"{path} is a mask of colours: save it as grey levels, one per label.")
    return values


def read_pixels(
    path: Path, config: DatasetConfig
) -> tuple[NDArray[np.uint8], tuple[float, float] | None, tuple[str, ...]]:
    """A picture of any format as uint8 (H, W, 3) RGB, its millimetres per pixel where it says them, and notes.

    Raises:
        CaseError: as from `read_picture`, `dicom.read_single`, `npz.read_flat` and `ome.read_flat`.
    """
    ending = path.suffix.lower()
    if ending == npz.ENDING or ome.is_ome(path):
        values, spacing = (npz.read_flat(path, mask=False), None) if ending == npz.ENDING else ome.read_flat(path)
        grey = values if values.dtype == np.uint8 else window(values.astype(np.float64), path)
        return np.array(np.repeat(grey[:, :, None], 3, axis=2) if grey.ndim == 2 else grey[:, :, :3]), spacing, ()
    if ending not in PICTURES and dicom.is_dicom(path):
        return dicom.read_single(path, config.volume)
    pixels, notes = read_picture(path)
    return pixels, None, notes


def slice_refs(name: str, group: str, image: Path, mask: Path | None, config: DatasetConfig) -> SliceRefs:
    """References to the slices of one volume, `<name>/<axis>_<number>`; only the mask's voxels are read for this.

    A volume whose mask cannot be read is one reference, which fails when it is loaded, so that the run counts it. None
    is left of an empty mask, or of one that dataset.volume.trim_mm eats up.
    """
    try:
        volume = read_grid(image) if mask is None else _read_target(image, mask, config)
    except CaseError as error:
        return SliceRefs([CaseRef(name, group, name, failing(error), volume=name)])
    axis = volume.axis(config.volume.axis)
    refs = SliceRefs()
    refs.taken = take_slices(volume, config.volume, target=mask is not None)
    for number in refs.taken.numbers:
        case_id = f"{name}/{axis}_{number:03d}"
        load = partial(_load_slice, case_id, name, group, number, image, mask, config)
        refs.append(CaseRef(case_id, group, name, load, volume=name, slice=number))
    return refs


def _read_target(image: Path, mask: Path, config: DatasetConfig) -> Slices:
    """The mask of a volume, placed by its own affine or by the image's."""
    ignored = config.volume.mask_affine is MaskAffine.ignore
    return read_target(mask, _label(config), image if ignored else None)


def target_volume(image: Path, mask: Path, config: DatasetConfig, axis: Axis) -> Slices:
    """The target of a whole volume, bool, on the grid of its image: of a pair, the side that is asked for.

    Args:
        axis: that slices are cut along, in which the sides are told.

    Raises:
        CaseError: as from `read_target` and `require_same_grid`; E_AXIS.
    """
    found = _read_target(image, mask, config)
    require_same_grid(read_grid(image), found, mask)
    side, mirrored = _shown_side(axis, config, image), is_mirrored(axis, config)
    if side is Side.both:
        return found
    cuts = {number: found.cut(axis, number, mirrored) for number in range(found.depth(axis))}
    parts = {number: one_side(np.ascontiguousarray(each), side) for number, each in cuts.items()}
    return replace(found, values=replace(found, file_affine=None).uncut(axis, parts, mirrored))


def _load_slice(
    case_id: str, name: str, group: str, number: int, image: Path, mask: Path | None, config: DatasetConfig
) -> Case:
    """One slice with its target, if there is one; the volume is read once for all its slices in a row."""
    volume = read_windowed(image, config.volume)
    axis = volume.axis(config.volume.axis)
    mirrored = is_mirrored(axis, config)
    target, notes = None, volume.notes
    if mask is not None:
        grid = _read_target(image, mask, config)
        require_same_grid(volume, grid, mask)
        target, notes = np.ascontiguousarray(grid.cut(axis, number, mirrored)), (*notes, *grid.notes)
    picture = np.repeat(volume.cut(axis, number, mirrored)[:, :, None], 3, axis=2)
    load = partial(_load_slice, case_id, name, group, number, image, mask, config)
    ref = CaseRef(case_id, group, name, load, volume=name, slice=number)
    if not config.volume.resize:
        config = replace(config, resize=replace(config.resize, mode=ResizeMode.native))
    notes = (*notes, *[ASKEW] * volume.is_askew(axis))
    spacing = volume.spacing(axis)
    return make_case(ref, config, image, picture, target, spacing, notes=notes, mask_path=mask, axis=axis)


@dataclass(frozen=True)
class _TimedCase:
    """A case with the seconds that reading it took."""

    case: Case
    seconds: float


Load = Callable[[], _TimedCase]

"""Waits for the case; raises what reading it raised."""


def prefetched(refs: Sequence[CaseRef]) -> Iterator[tuple[CaseRef, Load]]:
    """Every reference, in order, with its case being read already; never more than one case ahead."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        coming = [reader.submit(_read, ref) for ref in refs[:1]]
        try:
            for position, ref in enumerate(refs):
                coming += [reader.submit(_read, following) for following in refs[position + 1 : position + 2]]
                yield ref, coming.pop(0).result
        finally:
            for each in coming:  # the caller left early
                each.cancel()


def _read(ref: CaseRef) -> _TimedCase:
    start = time.perf_counter()
    case = ref.load()
    return _TimedCase(case, time.perf_counter() - start)
