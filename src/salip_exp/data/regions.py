"""Connected parts of masks, and the regions of interest (ROIs) of a target."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Side


def components(mask: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """The 8-connected components of a mask (H, W), at most so many: bool (n, H, W), the largest first."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    largest = sorted(range(1, n), key=lambda label: (-stats[label, cv2.CC_STAT_AREA], label))[:most]
    found: NDArray[np.bool_] = labels[None] == np.array(largest, dtype=labels.dtype)[:, None, None]
    return found


def regions(target: NDArray[np.bool_], k: int) -> NDArray[np.bool_]:
    """The ROIs of a target that is not empty: bool (1 to k, H, W), the largest first.

    They are its k largest components; with k = 1 the whole target is the one ROI, whatever it consists of.
    """
    return target[None] if k == 1 else components(target, k)


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
