"""One of a pair of organs as the target: the right or the left lung of a frontal picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Side
from salip_exp.data.regions import components

MOST = 256
"""Components that are looked at, the largest; what is left beyond them are specks of no side."""


def one_side(mask: NDArray[np.bool_], side: Side) -> NDArray[np.bool_]:
    """The part of a target (H, W) that is the patient's right or left organ; all of it for `both`.

    The patient faces us, so his right lies in the left half of the picture. A component belongs to the half that its
    centroid lies in. Where there is one component alone, its pixels are divided between the halves: organs that touch
    are told apart, and a single one stays whole where it does not reach over the middle. Empty for a side without any.
    """
    if side is Side.both:
        return mask
    middle = (mask.shape[1] - 1) / 2
    columns = np.arange(mask.shape[1])
    wanted = columns < middle if side is Side.right else columns >= middle
    parts = components(mask, MOST)
    if len(parts) < 2:
        return np.asarray(mask & wanted)
    of_side = np.zeros_like(mask)
    for part in parts:
        centroid = float(columns @ part.sum(axis=0)) / int(part.sum())
        if (centroid < middle) is (side is Side.right):
            of_side |= part
    return of_side
