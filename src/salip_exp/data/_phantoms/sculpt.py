"""Implicit shapes in a randomly warped frame: the clay the head phantom is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Point = tuple[float, float, float]
Block = tuple[slice, ...]

STEP_MM = 3.0  # fields are smooth, so they are computed on this coarse lattice and interpolated where they are needed
_FAR, _MARGIN = 60.0, 24.0  # mm: shapes are worked out within the margin only, and are far away elsewhere


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], cells: Sequence[float]) -> Field:
    """Smooth random field of about zero mean and unit standard deviation.

    Args:
        rng: source of randomness.
        shape: shape of the field.
        cells: number of random knots across each axis; more cells give finer detail.
    """
    field = rng.normal(size=[int(c) + 4 for c in cells])
    for axis in (2, 1, 0):
        at = np.linspace(1.0, 1.0 + cells[axis], shape[axis])
        middle = np.rint(at).astype(np.intp)
        t = at - middle
        weights = (0.5 * (0.5 - t) ** 2, 0.75 - t * t, 0.5 * (0.5 + t) ** 2)  # quadratic B-spline
        field = _mix(field, axis, middle - 1, weights)
    return field / 0.4  # the spline's weights leave this standard deviation on average


def interpolate(field: Field, positions: Sequence[Field]) -> Field:
    """Linear interpolation of a field on the grid spanned by fractional indices along each axis."""
    for axis in (2, 1, 0):
        at = np.clip(positions[axis], 0.0, field.shape[axis] - 1.0)
        low = np.minimum(at.astype(np.intp), field.shape[axis] - 2)
        field = _mix(field, axis, low, (1.0 - (at - low), at - low))
    return field


def _mix(field: Field, axis: int, first: NDArray[np.intp], weights: Sequence[Field]) -> Field:
    """Weighted sum of consecutive samples along one axis, starting at `first`."""
    shape = [1, 1, 1]
    shape[axis] = -1
    total = field.take(first, axis) * weights[0].reshape(shape)
    for tap in range(1, len(weights)):
        part = field.take(first + tap, axis)
        part *= weights[tap].reshape(shape)
        total += part
    return total


def blend(a: Field, b: Field, width: float) -> Field:
    """Smooth union of two signed distance fields; `width` (mm) is the size of the fillet between them."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0.0, 1.0)
    return b + (a - b) * h - width * h * (1.0 - h)


def union(*fields: Field) -> Field:
    """Sharp union of signed distance fields."""
    out = fields[0]
    for field in fields[1:]:
        out = np.minimum(out, field)
    return out


class Sculptor:
    """Makes signed distance fields (mm, negative inside) on a coarse lattice of warped head coordinates.

    Shapes are given in left-right symmetric coordinates (|x|, y, z), RAS+ with the origin near the anterior
    commissure; every shape is jittered, and the warp of the frame makes the two sides differ.

    Args:
        rng: source of randomness.
        origin: position of lattice corner in mm.
        size: extent of the lattice in mm.
    """

    def __init__(self, rng: np.random.Generator, origin: Point, size: Point) -> None:
        self.rng = rng
        self.size = size
        self.shape = tuple(int(np.ceil(s / STEP_MM)) + 2 for s in size)
        axes = [o + STEP_MM * np.arange(n, dtype=np.float64) for o, n in zip(origin, self.shape, strict=True)]
        self.x, self.y, self.z = self._warp(np.meshgrid(*axes, indexing="ij"))
        self.ax = np.abs(self.x)
        others = ((1, 2), (0, 2), (0, 1))
        self._reach: list[tuple[Field, Field]] = [
            (c.min(axis=o), c.max(axis=o)) for c, o in zip((self.x, self.y, self.z), others, strict=True)
        ]

    def _warp(self, mm: Sequence[Field]) -> list[Field]:
        """Head pose, size and shape: a small rotation, stretching per axis, and a smooth random displacement."""
        rng = self.rng
        x, y, z = (c - shift for c, shift in zip(mm, rng.normal(0, (1.5, 2.5, 2.5)), strict=True))
        pitch, roll, yaw = rng.normal(0, (0.07, 0.03, 0.03))
        y, z = y + pitch * z, z - pitch * y
        x, z = x + roll * z, z - roll * x
        x, y = x + yaw * y, y - yaw * x
        stretch = rng.uniform(0.93, 1.01) * rng.uniform((0.95, 0.96, 0.95), (1.05, 1.04, 1.04))
        return [c / s + 2.4 * self.noise(55) + 0.9 * self.noise(24) for c, s in zip((x, y, z), stretch, strict=True)]

    def noise(self, mm: float) -> Field:
        """Smooth unit noise whose detail has the size `mm`."""
        return smooth_noise(self.rng, self.shape, [s / mm for s in self.size])

    def ball(self, centre: Point, radii: Point, jitter: float = 1.0, medial: float = 1.0) -> Field:
        """Ellipsoid, or a left-right pair of them where the centre lies off the midline.

        `medial` below 1 flattens the half that faces the midline, as the medial wall of a hemisphere is flat.
        """
        c = np.asarray(centre) + jitter * self.rng.normal(0, 0.8, 3) * (1.0 if centre[0] else (0.0, 1.0, 1.0))
        r = np.asarray(radii) * self.rng.normal(1.0, 0.04 * jitter, 3)
        block = self._around(c - r, c + r)
        side = self.ax[block] - c[0]
        u = np.where(side < 0, medial * side, side) / r[0]
        v, w = (self.y[block] - c[1]) / r[1], (self.z[block] - c[2]) / r[2]
        k = np.sqrt(u * u + v * v + w * w)
        slope = np.sqrt((u / r[0]) ** 2 + (v / r[1]) ** 2 + (w / r[2]) ** 2)
        field = np.full(self.shape, _FAR)
        field[block] = k * (k - 1.0) / np.maximum(slope, 1e-3)
        return field

    def tube(self, points: Sequence[Point], radii: Sequence[float]) -> Field:
        """Round tube along a polyline, its radius changing linearly from point to point."""
        knots = np.asarray(points) + self.rng.normal(0, 0.8, 3)
        if not points[0][0]:
            knots[:, 0] = 0.0
        thick = np.asarray(radii) * self.rng.normal(1.0, 0.06)
        field = np.full(self.shape, _FAR)
        for i in range(len(points) - 1):
            ends, widest = knots[i : i + 2], thick[i : i + 2].max()
            block = self._around(ends.min(0) - widest, ends.max(0) + widest)
            field[block] = np.minimum(field[block], self._segment(block, ends, thick[i : i + 2]))
        return field

    def _segment(self, block: Block, ends: Field, thick: Field) -> Field:
        a, d = ends[0], ends[1] - ends[0]
        px, py, pz = self.ax[block] - a[0], self.y[block] - a[1], self.z[block] - a[2]
        t = np.clip((px * d[0] + py * d[1] + pz * d[2]) / float((d * d).sum()), 0.0, 1.0)
        px, py, pz = px - t * d[0], py - t * d[1], pz - t * d[2]
        distance: Field = np.sqrt(px * px + py * py + pz * pz) - (thick[0] + t * (thick[1] - thick[0]))
        return distance

    def _around(self, low: Field, high: Field) -> Block:
        """Lattice block that holds the shape within `low` and `high` and a margin; beyond it only `_FAR` matters."""
        mirrored = np.array([-high[0], low[1], low[2]])
        block = []
        for (least, most), a, b in zip(self._reach, mirrored, high, strict=True):
            hit = np.flatnonzero((most > a - _MARGIN) & (least < b + _MARGIN))
            block.append(slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0))
        return tuple(block)


class Canvas:
    """A label volume that coarse fields are painted on.

    Args:
        size: extent in mm.
        voxel_mm: voxel size per axis.
    """

    def __init__(self, size: Point, voxel_mm: Point) -> None:
        self.step = tuple(v / STEP_MM for v in voxel_mm)
        self.labels = np.zeros([round(s / v) for s, v in zip(size, voxel_mm, strict=True)], np.uint8)

    def block(self, inside: NDArray[np.bool_]) -> Block:
        """Voxels that the coarse `inside` can reach when interpolated."""
        out = []
        for axis in range(3):
            hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
            first, last = (int(hit[0]) - 1, int(hit[-1]) + 1) if hit.size else (0, 0)
            limit = self.labels.shape[axis]
            out.append(slice(max(0, int(first / self.step[axis])), min(limit, int(last / self.step[axis]) + 1)))
        return tuple(out)

    def fine(self, field: Field, block: Block) -> Field:
        """Coarse field interpolated at the voxels of a block."""
        positions = [
            step * np.arange(part.start, part.stop, dtype=np.float64)
            for part, step in zip(block, self.step, strict=True)
        ]
        return interpolate(field, positions)

    def paint(self, field: Field, label: int, over: Sequence[int] | None = None) -> None:
        """Give `label` to the voxels where the field is negative, only over the labels named in `over` if given."""
        if not (field < 0).any():
            return
        block = self.block(field < 0)
        where = self.fine(field, block) < 0
        view = self.labels[block]
        if over is not None:
            where &= lookup(over)[view]
        view[where] = label


def lookup(labels: Sequence[int]) -> NDArray[np.bool_]:
    """Table of 256 truth values, true at the given labels: `lookup(part)[volume]` is the part's mask."""
    table = np.zeros(256, np.bool_)
    table[list(labels)] = True
    return table
