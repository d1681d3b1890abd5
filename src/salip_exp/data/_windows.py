"""From the numbers of a volume to the 256 greys that networks see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOWS: Mapping[str, tuple[float, float]] = {
    "soft_tissue": (-160.0, 240.0),  # width 400, level 40
    "lung": (-1350.0, 150.0),  # width 1500, level -600
    "bone": (-500.0, 1300.0),  # width 1800, level 400
    "brain": (0.0, 80.0),  # width 80, level 40
}
"""Hounsfield units that become black and white, by the names of `dataset.volume.window`."""
HEADER = "header"
"""The name of the window that the image's own header gives."""


def limits(window: Any) -> tuple[float, float] | None:
    """The numbers that `dataset.volume.window` means; None where it is not given, or stands in each image's header.

    Raises:
        ValueError: it is no window.
    """
    if window is None or window == HEADER:
        return None
    if isinstance(window, str) and window in WINDOWS:
        return WINDOWS[window]
    if isinstance(window, list | tuple) and len(window) == 2 and all(type(each) in (int, float) for each in window):
        low, high = float(window[0]), float(window[1])
        if -np.inf < low < high < np.inf:
            return low, high
    raise ValueError(
        f"dataset.volume.window={window} is no window: give {', '.join(WINDOWS)}, {HEADER}, or [LOW,HIGH] in the "
        "image's own units, e.g. [-160,240]"
    )


def between(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Values from `low` to `high` as 0 to 255, rounded; what lies beyond them is black or white."""
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def by_percentiles(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Values between two percentiles of the non-zero ones as 0 to 255; constant values are black.

    Where the percentiles coincide, as among two values, it is from minimum to maximum.
    """
    seen = values[values != 0]
    if not seen.size:
        return np.zeros(values.shape, np.uint8)
    bottom, top = (float(each) for each in np.percentile(seen, [low, high]))
    if seen.min() < 0:
        bottom = min(bottom, 0.0)
    if top <= bottom:
        bottom, top = float(values.min()), float(values.max())
    if top <= bottom:
        return np.zeros(values.shape, np.uint8)
    return between(values, bottom, top)
