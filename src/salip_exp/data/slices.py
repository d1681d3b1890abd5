"""Cases of NIfTI volumes: one per slice, read when asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from salip_exp.config import DatasetConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.finish import finish
from salip_exp.data.volumes import read_target, read_volume, read_windowed, require_same_grid, slice_numbers
from salip_exp.errors import CaseError


def slice_refs(name: str, group: str, image: Path, mask: Path | None, config: DatasetConfig) -> list[CaseRef]:
    """References to the slices of one volume, `<name>/<axis>_<number>`; only the mask is read for this.

    A volume whose mask cannot be read is one reference, which fails when it is loaded, so that the run counts it.
    """
    axis = config.volume.axis
    try:
        extent = read_volume(image) if mask is None else read_target(mask, config.files.label)
        numbers = slice_numbers(extent, config.volume, target=mask is not None)
    except CaseError as error:
        return [CaseRef(name, group, name, _Failing(error), volume=name)]
    refs = []
    for number in numbers:
        load = _SliceLoad(name, group, number, image, mask, config)
        refs.append(CaseRef(f"{name}/{axis}_{number:03d}", group, name, load, volume=name, slice=number))
    return refs


class _Failing:
    """The load of a volume that could not be indexed: raises what indexing found."""

    def __init__(self, error: CaseError) -> None:
        self.code, self.message = error.code, str(error)

    def __call__(self) -> Case:
        raise CaseError(self.code, self.message)


class _SliceLoad:
    """The load of one slice."""

    def __init__(
        self, name: str, group: str, number: int, image: Path, mask: Path | None, config: DatasetConfig
    ) -> None:
        self.name, self.group, self.number = name, group, number
        self.image, self.mask, self.config = image, mask, config

    def __call__(self) -> Case:
        axis = self.config.volume.axis
        volume = read_windowed(self.image, self.config.volume)
        target = None
        if self.mask is not None:
            grid = read_target(self.mask, self.config.files.label)
            require_same_grid(volume, grid, self.mask)
            target = np.ascontiguousarray(grid.cut(axis, self.number))
        grey = volume.cut(axis, self.number)
        ref = CaseRef(
            f"{self.name}/{axis}_{self.number:03d}", self.group, self.name, self, volume=self.name, slice=self.number
        )
        image = np.repeat(grey[:, :, None], 3, axis=2)
        return finish(ref, self.config, self.image, image, target, volume.spacing(axis))
