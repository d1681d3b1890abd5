"""Connected parts of masks, and the regions of interest (ROIs) of a target."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


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
