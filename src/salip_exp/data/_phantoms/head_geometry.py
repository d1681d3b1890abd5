"""Geometry of the fetal-head phantom: the scene's record, the scanner's fan, ellipses and smooth noise.

Lengths are in scene units: 1 is the height of a native 800x540 frame, x runs from the frame's middle column to the
right, y from its top row downwards. A scene therefore looks the same at any shape, only sampled more or less finely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NATIVE_SHAPE = (540, 800)


@dataclass(frozen=True)
class Fan:
    """The scanner's field of view: beams leave a virtual apex, between two angles and two radii (scene units).

    Attributes:
        apex: (x, y) of the point where all beams meet; above the frame.
        near: radius of the transducer's surface.
        far: radius where the picture ends.
        left: angle of the first beam from straight down, radians, negative.
        right: angle of the last beam.
    """

    apex: tuple[float, float]
    near: float
    far: float
    left: float
    right: float

    def polar(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Radius from the apex and angle from straight down of the points (x, y)."""
        dx, dy = x - self.apex[0], y - self.apex[1]
        return np.sqrt(dx * dx + dy * dy), np.arctan2(dx, dy)

    def contains(self, x: Array, y: Array) -> NDArray[np.bool_]:
        """Which of the points (x, y) the fan shows."""
        radius, angle = self.polar(x, y)
        return (radius >= self.near) & (radius <= self.far) & (angle >= self.left) & (angle <= self.right)


@dataclass(frozen=True)
class HeadScene:
    """One fetal-head scene: what is where, before any acoustics.

    Attributes:
        labels: uint8 (H, W) tissue map, see `LABELS`.
        ellipse: outer skull (cx, cy, a, b, angle): centre column and row and semi-axes in pixels, angle of `a` in
            radians from the column axis towards growing rows.
        pixel_size_mm: side of a pixel in millimetres.
        head_circumference_mm: circumference of the ellipse in millimetres.
        fan: the scanner's field of view.
    """

    labels: NDArray[np.uint8]
    ellipse: tuple[float, float, float, float, float]
    pixel_size_mm: float
    head_circumference_mm: float
    fan: Fan


def scene_scale(shape: tuple[int, int]) -> float:
    """Pixels per scene unit of a frame (rows, columns)."""
    return min(float(shape[0]), shape[1] * NATIVE_SHAPE[0] / NATIVE_SHAPE[1])


def frame_axes(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Scene coordinates x (1, W) and y (H, 1) of the pixel centres of a frame."""
    scale = scene_scale(shape)
    x = (np.arange(shape[1], dtype=np.float64) - (shape[1] - 1) / 2) / scale
    return x[None, :], (np.arange(shape[0], dtype=np.float64) / scale)[:, None]


def ellipse_frame(x: Array, y: Array, ellipse: tuple[float, float, float, float, float]) -> tuple[Array, Array]:
    """Coordinates (u, v) of points in an ellipse's own frame, where its border is u^2 + v^2 = 1."""
    cx, cy, a, b, angle = ellipse
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = x - cx, y - cy
    return (dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b


def in_ellipse(x: Array, y: Array, ellipse: tuple[float, float, float, float, float]) -> NDArray[np.bool_]:
    """Which points lie inside an ellipse (cx, cy, a, b, angle), all in the same units."""
    u, v = ellipse_frame(x, y, ellipse)
    return u * u + v * v <= 1.0


def ellipse_outline(ellipse: tuple[float, float, float, float, float], n: int) -> tuple[Array, Array]:
    """`n` points (x, y) along an ellipse (cx, cy, a, b, angle)."""
    cx, cy, a, b, angle = ellipse
    t = np.arange(n, dtype=np.float64) * (2 * np.pi / n)
    u, v = a * np.cos(t), b * np.sin(t)
    cos, sin = np.cos(angle), np.sin(angle)
    return cx + u * cos - v * sin, cy + u * sin + v * cos


def ellipse_circumference(a: float, b: float) -> float:
    """Circumference of an ellipse with semi-axes a and b, by Ramanujan's second formula (relative error < 1e-4)."""
    h = ((a - b) / (a + b)) ** 2
    return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))


def smooth_noise(rng: np.random.Generator, nodes: tuple[int, int], shape: tuple[int, int]) -> Array:
    """Smooth random field (H, W), mean 0 and standard deviation about 1, by cubic B-splines over a random lattice.

    `nodes` is the number of lattice cells down and across; the draws do not depend on `shape`.
    """
    lattice = rng.standard_normal((nodes[0] + 3, nodes[1] + 3))
    columns = _spline(lattice, nodes[0], shape[0])
    # A cubic B-spline's squared weights sum to 0.479 on average, along each axis.
    return _spline(columns.T, nodes[1], shape[1]).T / 0.479


def _spline(lattice: Array, cells: int, n: int) -> Array:
    """Interpolate a lattice (cells + 3, m) along its first axis at n points: (n, m)."""
    position = (np.arange(n, dtype=np.float64) + 0.5) * (cells / n)
    base = position.astype(np.int64)
    f = (position - base)[:, None]
    g = 1 - f
    weights = (g**3, 3 * f**3 - 6 * f**2 + 4, 3 * g**3 - 6 * g**2 + 4, f**3)
    total = weights[0] * lattice[base]
    for k in (1, 2, 3):
        total = total + weights[k] * lattice[base + k]
    return np.asarray(total / 6.0, dtype=np.float64)
