"""Soft-edged shapes with wavy borders on a square canvas: what the slices of trunk and heart are put together from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.embedded.randomise import smooth_noise

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Canvas:
    """A square of `side` pixels with x to the right and y down, both from -1 to 1, warped as one."""

    def __init__(self, rng: np.random.Generator, side: int, warp: float = 0.02) -> None:
        self.rng, self.side = rng, side
        y, x = np.mgrid[0:side, 0:side].astype(np.float32) * (2 / (side - 1)) - 1
        self.x, self.y = (c + warp * smooth_noise(rng, (side, side), 5) for c in (x, y))

    def oval(self, at: tuple[float, float], radii: tuple[float, float], turn: float = 0, wave: float = 0.05) -> Field:
        """How deep a pixel lies in an oval: 1 in its middle, 0 on its wavy border, less outside; float32 (H, W)."""
        x, y = self.x - at[0], self.y - at[1]
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        around, phases = np.arctan2(v, u), self.rng.uniform(0, 2 * np.pi, 3)
        border = sum(np.cos(k * around + p) / k for k, p in zip((2, 3, 5), phases, strict=True))
        return np.asarray(1 - np.hypot(u / radii[0], v / radii[1]) / (1 + wave * border), np.float32)

    def near(self, value: float, spread: float) -> float:
        """A number near another: within the share `spread` of it, uniformly."""
        return float(value * self.rng.uniform(1 - spread, 1 + spread))

    def spots(self, count: int, radius: float, inside: Mask) -> Mask:
        """Small discs whose centres are anywhere in a mask, bool (H, W)."""
        rows, columns = np.nonzero(inside)
        spots = np.zeros_like(inside)
        for _ in range(count if len(rows) else 0):
            at = int(self.rng.integers(len(rows)))
            x, y = self.x[rows[at], columns[at]], self.y[rows[at], columns[at]]
            spots |= np.hypot(self.x - x, self.y - y) < self.near(radius, 0.6)
        return np.asarray(spots & inside)
