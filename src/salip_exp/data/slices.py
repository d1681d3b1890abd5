"""Cases of NIfTI volumes: one per slice, read when asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from salip_exp.config import DatasetConfig
from salip_exp.data.case import Case, CaseRef, failing
from salip_exp.data.finish import finish
from salip_exp.data.volumes import (
    read_extent,
    read_target,
    read_windowed,
    require_same_grid,
    slice_numbers,
)
from salip_exp.errors import CaseError


def slice_refs(name: str, group: str, image: Path, mask: Path | None, config: DatasetConfig) -> list[CaseRef]:
    """References to the slices of one volume, `<name>/<axis>_<number>`; only the mask's voxels are read for this.

    A volume whose mask cannot be read is one reference, which fails when it is loaded, so that the run counts it. None
    is left of an empty mask, or of one that dataset.volume.trim_mm eats up.
    """
    try:
        extent = read_extent(image) if mask is None else read_target(mask, config.files.label)
    except CaseError as error:
        return [CaseRef(name, group, name, failing(error), volume=name)]
    axis = extent.axis(config.volume.axis)
    refs = []
    for number in slice_numbers(extent, config.volume, target=mask is not None):
        case_id = f"{name}/{axis}_{number:03d}"
        load = partial(load_slice, case_id, name, group, number, image, mask, config)
        refs.append(CaseRef(case_id, group, name, load, volume=name, slice=number))
    return refs


def load_slice(
    case_id: str, name: str, group: str, number: int, image: Path, mask: Path | None, config: DatasetConfig
) -> Case:
    """One slice with its target, if there is one; the volume is read once for all its slices in a row."""
    volume = read_windowed(image, config.volume)
    axis = volume.axis(config.volume.axis)
    target = None
    if mask is not None:
        grid = read_target(mask, config.files.label)
        require_same_grid(volume, grid, mask)
        target = np.ascontiguousarray(grid.cut(axis, number))
    picture = np.repeat(volume.cut(axis, number)[:, :, None], 3, axis=2)
    load = partial(load_slice, case_id, name, group, number, image, mask, config)
    ref = CaseRef(case_id, group, name, load, volume=name, slice=number)
    return finish(ref, config, image, picture, target, volume.spacing(axis), notes=volume.notes)
