"""A volume as its file has it, before it is turned: what readers of all formats give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp._files import TooLarge
from salip_exp.data.images import short
from salip_exp.errors import CaseError, EnvironmentFault

MAX_VOXELS = 2**28
"""Volumes that promise more are refused before memory is taken."""

UNSIZED = "voxel size unknown"
"""Note on a volume whose file does not say how large its voxels are: in its affine they are of 1 mm."""

ASKEW = "its axes are no right angles (a tilted gantry?): no distances in mm"
"""Note on what distances cannot be measured of: they would be measured along axes that are askew."""
_SQUARE = 1e-3
"""Cosine of the angle up to which axes of voxels count as at right angles."""


@dataclass(frozen=True)
class Stored:
    """A volume in the axes of its file.

    Attributes:
        values: (I, J, K).
        affine: float64 (4, 4), from indices to millimetres right, anterior, superior.
        notes: what a user should know of it.
        window: numbers that the header wants to be black and white; None where it names none.
        inverted: the header wants its lowest number to be white.
    """

    values: NDArray[Any]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    inverted: bool = False


def from_lps(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The affine of three steps and an origin in millimetres left, posterior, superior, as DICOM and ITK have them."""
    affine = np.eye(4)
    affine[:3] = np.stack(columns, axis=1)
    affine[:2] *= -1
    return affine


def is_square(affine: NDArray[np.float64], axes: Sequence[int] = (0, 1, 2)) -> bool:
    """Whether some axes of voxels are at right angles to each other."""
    turn = affine[:3, list(axes)]
    turn = turn / np.linalg.norm(turn, axis=0)
    return bool(np.abs(turn.T @ turn - np.eye(len(axes))).max() <= _SQUARE)


def grid(shape: tuple[int, ...]) -> NDArray[Any]:
    """Voxels of a shape, all zero, that take no memory."""
    return np.broadcast_to(np.uint8(0), shape)


def require_fair(shape: Sequence[int], path: Path) -> None:
    """Raise E_SIZE for more voxels than are read."""
    if math.prod(shape) > MAX_VOXELS:
        dimensions = " x ".join(map(str, shape))
        raise CaseError("E_SIZE", f"{path} promises {dimensions} voxels: the limit is {MAX_VOXELS} in all.")


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """Turn whatever a decoder raises on bytes that it was not made for into E_READ."""
    try:
        with np.errstate(all="ignore"):
            yield
    except (CaseError, EnvironmentFault):
        raise
    except TooLarge as error:
        raise CaseError("E_SIZE", f"{path} is too large: {error}.") from error
    except Exception as error:
        raise CaseError("E_READ", f"{path} cannot be read as {form} ({short(error)}): get the file again.") from error
