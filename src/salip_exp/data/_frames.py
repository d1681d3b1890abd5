"""Frames of one DICOM file: where each lies and what its numbers mean, by the functional groups of the standard.

PS3.3, C.7.6.16: a frame has what its own group says, else what the group of all frames says; headers without groups
say it themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salip_exp.data._stored import from_lps
from salip_exp.errors import CaseError

_UNEVEN = 0.01
"""Share of the distance between slices that one may be off."""
_ASIDE = 0.25
"""Pixels that a slice may lie beside the line through the first and the last."""
_SQUARE = 0.01
"""By which the lengths of directions, and the cosine between them, may be off."""
_MOST = 1 << 16
"""Frames of a file, each of which has groups of its own."""
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


class Plane(NamedTuple):
    """Where a slice lies: ImagePositionPatient, ImageOrientationPatient and PixelSpacing (row, column) in mm."""

    position: tuple[float, ...]
    directions: tuple[float, ...]
    spacing: tuple[float, ...]

    @property
    def known(self) -> bool:
        """Whether the header says all of it."""
        return (len(self.position), len(self.directions), len(self.spacing)) == (3, 6, 2)

    @property
    def normal(self) -> NDArray[np.float64]:
        """The direction across the slice."""
        return np.cross(self.directions[:3], self.directions[3:])


def count(data: Any, path: Path) -> int:
    """How many frames a file promises.

    Raises:
        CaseError: E_SIZE for a number that cannot be, E_READ for groups of another number.
    """
    frames = int(data.get("NumberOfFrames") or 1)
    if not 1 <= frames <= _MOST:
        raise CaseError("E_SIZE", f"{path} promises {frames:,} frames: the limit is {_MOST:,}.")
    groups = data.get(GROUPS[1])
    if groups is not None and len(groups) != frames:
        raise CaseError("E_READ", f"{path} has {frames} frames and groups for {len(groups)}: get the file again.")
    return frames


def told(data: Any, frame: int, group: str, key: str) -> Any:
    """What a header says of a frame; None where it does not.

    Args:
        group: the sequence of the functional groups that the key belongs to.
    """
    for where, place in ((GROUPS[1], frame), (GROUPS[0], 0)):
        groups = data.get(where)
        found = groups[place].get(group) if groups else None
        if found and key in found[0]:
            return found[0].get(key)
    return data.get(key)


def numbers(value: Any) -> tuple[float, ...]:
    """The numbers of a tag; none where it is absent."""
    return () if value is None else tuple(float(each) for each in value)


def plane(data: Any, frame: int = 0) -> Plane:
    """Where a frame lies."""
    return Plane(
        numbers(told(data, frame, "PlanePositionSequence", "ImagePositionPatient")),
        numbers(told(data, frame, "PlaneOrientationSequence", "ImageOrientationPatient")),
        numbers(told(data, frame, "PixelMeasuresSequence", "PixelSpacing")),
    )


def in_order(data: Any, frames: int, path: Path) -> tuple[list[int], list[Plane]]:
    """The frames of a file from one end to the other, and where they lie in that order.

    Raises:
        CaseError: E_AFFINE, they do not say where they lie, or are turned or sized differently.
    """
    planes = [plane(data, frame) for frame in range(frames)]
    if not all(each.known for each in planes):
        raise CaseError(
            "E_AFFINE",
            f"{path}: its {frames} frames do not say where they lie in the patient, so they are no volume: give each "
            "picture a file.",
        )
    alike = [np.round((*each.directions, *each.spacing), 4) for each in planes]
    if any((each != alike[0]).any() for each in alike):
        raise CaseError(
            "E_AFFINE", f"{path}: its frames are turned or sized differently (several stacks): give each stack a file."
        )
    places = [float(planes[0].normal @ each.position) for each in planes]
    order = sorted(range(frames), key=lambda frame: places[frame])
    return order, [planes[frame] for frame in order]


def affine(planes: list[Plane], where: str) -> NDArray[np.float64]:
    """From columns, rows and slices to millimetres; the step between slices is as they lie, tilted or not.

    Args:
        planes: from one end to the other.
        where: they are, for errors.

    Raises:
        CaseError: E_DIMS for a single one, or two at one place; E_AFFINE for slices that are missing, uneven or beside
            the others, or directions that are none.
    """
    if len(planes) < 2:
        raise CaseError("E_DIMS", f"{where} one slice, which is a picture and no volume.")
    places, (rows, columns) = np.array([each.position for each in planes]), planes[0].spacing
    directions = np.array(planes[0].directions)
    turn = directions.reshape(2, 3)
    if np.abs(turn @ turn.T - np.eye(2)).max() > _SQUARE:
        raise CaseError("E_AFFINE", f"{where} directions that are not of length 1 or at no right angle: mend that.")
    apart = np.diff(places @ planes[0].normal)
    if (apart <= 1e-4).any():
        raise CaseError("E_DIMS", f"{where} several slices at one place (phases, echoes): give each volume a folder.")
    if np.abs(apart - apart.mean()).max() > _UNEVEN * apart.mean():
        raise CaseError(
            "E_AFFINE",
            f"{where} slices that lie {apart.min():.4g} to {apart.max():.4g} mm apart: some are missing, or it is to "
            "be resampled.",
        )
    step = (places[-1] - places[0]) / (len(places) - 1)
    aside = np.abs(places - places[0] - np.arange(len(places))[:, None] * step).max()
    if aside > _ASIDE * min(rows, columns) + _UNEVEN * apart.mean():
        raise CaseError("E_AFFINE", f"{where} slices that lie {aside:.3g} mm beside one line: resample it.")
    return from_lps([directions[:3] * columns, directions[3:] * rows, step, places[0]])
