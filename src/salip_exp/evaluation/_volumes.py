"""How well a predicted volume agrees with its target, in three dimensions, and how large both are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from salip_exp.config import ScoreConfig
from salip_exp.data._stored import is_square
from salip_exp.evaluation.metrics import dice, hd95, surface_dice

FIGURES = {
    "dsc": "Dice of all voxels: 2 |P and T| / (|P| + |T|)",
    "hd95": "95 % Hausdorff distance of the surfaces in mm, between centres of voxels that have a neighbour outside",
    "nsd": "surface Dice: share of both surfaces, by area, that lies within score.tolerance_mm of the other",
    "predicted_ml": "volume of the prediction in ml: its voxels times |det A| / 1000, A the affine in mm",
    "target_ml": "the same of the target",
    "difference_ml": "predicted_ml minus target_ml",
}
"""What is measured of a volume, by name."""


def measure_volume(
    prediction: NDArray[np.bool_], target: NDArray[np.bool_] | None, affine: NDArray[np.float64], config: ScoreConfig
) -> dict[str, float | None]:
    """`FIGURES` of a volume; None for one that cannot be had.

    Args:
        prediction: bool (X, Y, Z).
        target: bool (X, Y, Z); None: there is none.
        affine: float64 (4, 4), from voxels to mm. Where its axes are no right angles, as with a tilted gantry, there
            are no distances: they would be measured along axes that are askew.
        config: gives the tolerance, and what two empty masks score.
    """
    of_voxel = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    predicted = int(prediction.sum()) * of_voxel
    found: dict[str, float | None] = dict.fromkeys(FIGURES) | {"predicted_ml": predicted}
    if target is None:
        return found
    around = _around(prediction | target)
    mine, theirs = prediction[around], target[around]
    spacing = voxel_sizes(affine) if is_square(affine) else None
    aimed = int(target.sum()) * of_voxel
    return found | {
        "dsc": _known(dice(mine, theirs, config.empty_target)),
        "hd95": _known(hd95(mine, theirs, spacing)),
        "nsd": _known(surface_dice(mine, theirs, spacing, config.tolerance_mm, config.empty_target)),
        "target_ml": aimed,
        "difference_ml": predicted - aimed,
    }


def _around(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The least box that holds a mask: no figure depends on what is outside, and it takes time."""
    ends: list[Sequence[int]] = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))).tolist() for axis in range(3)]
    return tuple(slice(each[0], each[-1] + 1) if each else slice(0, 0) for each in ends)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
