"""The shape of a random chest: where the lungs, the heart, the diaphragm and the outline of the body run.

Everything is written in the patient's own frame: `u` runs across (0 on the midline, positive on the patient's left,
which is the right of the picture, 1 at the widest point of the rib cage), `v` runs down (0 at the lung apices,
about 1 at the diaphragm). Curves are 1-D tables looked up per pixel, which is fast and the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rng = np.random.Generator

_V_TABLE: Floats = np.linspace(-1.5, 2.5, 801)
A_TABLE: Floats = np.linspace(-3.0, 3.0, 1201)


@dataclass(frozen=True)
class Frame:
    """The patient's coordinates at every pixel, and the way back.

    Attributes:
        u, v: (H, W) patient coordinates.
        aspect: length of one `v` in units of `u`, to measure distances with.
        centre, half_width, height: place and size of the rib cage as fractions of the picture.
        turn: (cosine, sine) of the patient's tilt.
    """

    u: Floats
    v: Floats
    aspect: float
    centre: tuple[float, float]
    half_width: float
    height: float
    turn: tuple[float, float]

    def pixels(self, u: Floats, v: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row and column of points of the patient, clipped to the picture."""
        (c, s), (rows, cols) = self.turn, self.u.shape
        x, y = u * self.half_width, v * self.height
        row = (self.centre[1] + y * c - x * s) * rows
        col = (self.centre[0] + x * c + y * s) * cols
        return (np.clip(row, 0, rows - 1).astype(np.intp), np.clip(col, 0, cols - 1).astype(np.intp))


@dataclass(frozen=True)
class Side:
    """One half of the chest; `a` is the distance from the midline.

    Attributes:
        a: (H, W) distance from the midline.
        inner, outer: (H, W) borders of the lung field towards mediastinum and ribs.
        floor: (H, W) the `v` of the diaphragm.
        cage: (H, W) distance of the rib cage from the midline, never below 0.3.
    """

    a: Floats
    inner: Floats
    outer: Floats
    floor: Floats
    cage: Floats


def chance(rng: Rng, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def bump(z: Floats) -> Floats:
    """A smooth hill of height 1 on -1..1, nothing elsewhere."""
    hill: Floats = z * z
    np.subtract(1.0, hill, out=hill)
    np.maximum(hill, 0.0, out=hill)
    hill *= hill
    return hill


def ramp(z: Floats) -> Floats:
    """A smooth step from 0 at 0 to 1 at 1."""
    t = np.clip(z, 0.0, 1.0)
    step: Floats = t * -2.0
    step += 3.0
    step *= t
    step *= t
    return step


def smooth_noise(rng: Rng, shape: tuple[int, int], cells: int) -> Floats:
    """A smooth random field of about unit variance with `cells` hills across: quadratic B-splines on a random grid."""
    grid = 1.8 * rng.standard_normal((cells + 3, cells + 3))
    for size in shape:
        place = np.arange(size) * (cells / size)
        knot = place.astype(np.intp)
        t = (place - knot)[:, None]
        steps = [np.take(grid, knot + k, axis=0) for k in range(3)]
        grid = 0.5 * (1.0 - t) ** 2 * steps[0] + (0.75 - (t - 0.5) ** 2) * steps[1] + 0.5 * t * t * steps[2]
        grid = np.ascontiguousarray(grid.T)
    return grid


def draw_frame(rng: Rng, shape: tuple[int, int]) -> Frame:
    """Place a patient in the picture: size, position, tilt and a gentle deformation."""
    rows, cols = shape
    half_width = float(rng.uniform(0.33, 0.46))
    height = float(rng.uniform(0.5, 0.9))
    if chance(rng, 0.15):
        half_width, height = float(rng.uniform(0.24, 0.36)), float(rng.uniform(0.42, 0.6))
    tilt = float(rng.normal(0.0, 0.035)) * (2.5 if chance(rng, 0.1) else 1.0)
    cosine, sine = float(np.sqrt(1.0 - tilt * tilt)), tilt
    slack = 1.0 - height
    centre = (0.5 + float(rng.normal(0.0, 0.025)), float(np.clip(rng.uniform(0.1, 0.75) * slack, 0.02, 0.4)))
    x = ((np.arange(cols) + 0.5) / cols - centre[0])[None, :]
    y = ((np.arange(rows) + 0.5) / rows - centre[1])[:, None]
    u = (x * cosine - y * sine) / half_width
    v = (x * sine + y * cosine) / height
    strength = float(rng.uniform(0.0, 0.025))
    u = u + strength * smooth_noise(rng, shape, 3) + 0.3 * strength * smooth_noise(rng, shape, 9)
    v = v + strength * smooth_noise(rng, shape, 3) + 0.3 * strength * smooth_noise(rng, shape, 9)
    return Frame(u, v, height / half_width, centre, half_width, height, (cosine, sine))


def _outer_table(rng: Rng, apex: float, width: float) -> Floats:
    """Side wall: a quarter of a superellipse from the apex to the widest point, then nearly straight."""
    widest = float(rng.uniform(0.6, 1.05))
    roundness = float(rng.uniform(1.3, 2.2))
    t = np.clip(_V_TABLE / widest, 0.0, 1.0)
    rise = np.power(np.maximum(1.0 - np.power(1.0 - t, roundness), 0.0), 1.0 / float(rng.uniform(1.3, 2.1)))
    below = np.clip(_V_TABLE - widest, 0.0, None) * float(rng.uniform(-0.12, 0.12))
    wall = np.where(_V_TABLE > 0.0, apex + (width - apex) * rise + below, -1.0)
    return np.asarray(wall, dtype=np.float64)


def _inner_table(rng: Rng, sign: int, apex: float, child: bool) -> Floats:
    """Mediastinal border with vena cava, aortic knob, hilum and atrium as bumps, opening into the rounded apex."""
    base = float(rng.uniform(0.13, 0.22)) + (0.08 if child else 0.0)
    border = base + float(rng.uniform(-0.05, 0.1)) * _V_TABLE
    for centre, reach, low, high in ((0.25, 0.1, -0.01, 0.09), (0.44, 0.14, -0.01, 0.12), (0.65, 0.2, -0.03, 0.08)):
        place = centre + float(rng.normal(0.0, 0.04))
        amount = float(rng.uniform(low, high)) * (1.3 if sign > 0 else 1.0)
        border = border + amount * bump((_V_TABLE - place) / (reach * float(rng.uniform(0.7, 1.4))))
    opening = np.clip(_V_TABLE / float(rng.uniform(0.07, 0.22)), 0.0, 1.0)
    corner = np.power(np.maximum(1.0 - (1.0 - opening) ** 2, 0.0), 0.5)
    return np.asarray(apex - (apex - border) * corner, dtype=np.float64)


def _floor_table(rng: Rng, level: float, width: float) -> Floats:
    """Diaphragm: a dome that falls to the costophrenic angle, which is blunted now and then."""
    peak = float(rng.uniform(0.3, 0.6)) * width
    lateral = np.clip((A_TABLE - peak) / (width - peak), 0.0, 1.5)
    medial = np.clip((peak - A_TABLE) / peak, 0.0, 1.0)
    drop = float(rng.uniform(0.06, 0.3)) * np.power(lateral, float(rng.uniform(1.4, 3.2)))
    fall = level + drop + float(rng.uniform(-0.02, 0.06)) * medial * medial
    if chance(rng, 0.25):
        meniscus = level + float(rng.uniform(0.0, 0.1)) - float(rng.uniform(0.0, 0.5)) * np.clip(lateral - 0.6, 0, None)
        fall = np.minimum(fall, np.maximum(meniscus, level - 0.15))
    wave = np.sin(A_TABLE * float(rng.uniform(6.0, 14.0)) + float(rng.uniform(0.0, 6.0)))
    return np.asarray(fall + float(rng.uniform(0.0, 0.012)) * wave, dtype=np.float64)


def draw_side(rng: Rng, frame: Frame, sign: int, level: float, child: bool) -> Side:
    """Borders of one lung field, with `level` the `v` of the diaphragm's dome."""
    a = sign * frame.u
    width = float(rng.uniform(0.9, 1.04))
    apex = float(rng.uniform(0.36, 0.54))
    top = float(rng.normal(0.0, 0.015))
    outer = _outer_table(rng, apex, width)
    inner = _inner_table(rng, sign, apex, child)
    cage = np.maximum(outer, 0.3)
    look_up = [np.interp(frame.v - top, _V_TABLE, table) for table in (inner, outer, cage)]
    floor = np.interp(a, A_TABLE, _floor_table(rng, level, width))
    return Side(a, look_up[0], look_up[1], floor, look_up[2])


def draw_heart(rng: Rng, frame: Frame, level: float, child: bool) -> Floats:
    """Squared radius (1 on the outline) of a tilted egg that sinks into the diaphragm, apex to the patient's left."""
    size = float(rng.uniform(0.42, 0.6)) + (0.12 if chance(rng, 0.2) else 0.0) + (0.06 if child else 0.0)
    slim = float(rng.uniform(0.52, 0.78))
    angle = float(rng.uniform(0.5, 1.2))
    c, s = float(np.cos(angle)), float(np.sin(angle))
    lift = size * float(rng.uniform(0.3, 0.7))
    du = frame.u - float(rng.uniform(0.08, 0.26))
    du = np.where(du < 0.0, du * float(rng.uniform(1.0, 1.8)), du)
    dv = (frame.v - level) * frame.aspect + lift
    dv = np.where(dv > 0.0, dv * float(rng.uniform(0.3, 0.9)), dv)
    along, across = (du * c + dv * s) / size, (-du * s + dv * c) / (size * slim)
    across = across * (1.0 - 0.15 * np.clip(along, -1.0, 1.0))
    return np.asarray(along * along + across * across, dtype=np.float64)


def draw_torso(rng: Rng, frame: Frame) -> tuple[Floats, float, float]:
    """Distance inside the outline of neck, shoulders and trunk, and the shoulder's `u` and `v`."""
    neck = float(rng.uniform(0.3, 0.5))
    shoulder = float(rng.uniform(1.25, 1.75))
    chest = float(rng.uniform(1.06, 1.3)) + (float(rng.uniform(0.1, 0.4)) if chance(rng, 0.2) else 0.0)
    waist = chest * float(rng.uniform(0.92, 1.12))
    top, drop = float(rng.uniform(-0.4, -0.18)), float(rng.uniform(0.1, 0.3))
    joint = top + drop + float(rng.uniform(0.02, 0.1))
    knots = [-1.5, top - 0.1, top, top + 0.5 * drop, top + drop, joint + 0.12, joint + 0.4, 0.9, 1.4, 2.5]
    wide = 0.5 * (neck + shoulder)
    widths = [neck * 1.1, neck, neck * 1.15, wide, shoulder, shoulder, chest, 0.5 * (chest + waist), waist, waist]
    table = ndimage.gaussian_filter1d(np.interp(_V_TABLE, knots, widths), float(rng.uniform(6.0, 14.0)))
    depth = np.interp(frame.v, _V_TABLE, table) - np.abs(frame.u - float(rng.normal(0.0, 0.02)))
    return np.asarray(depth, dtype=np.float64), shoulder, joint


def draw_arms(rng: Rng, frame: Frame, shoulder: float, joint: float) -> tuple[Floats, Floats]:
    """Distance inside the two upper arms, and inside their bones, from hanging straight to spread."""
    spread, reach = float(rng.uniform(-0.05, 1.1)), float(rng.uniform(0.9, 1.6))
    radius = float(rng.uniform(0.2, 0.36))
    flesh, bone = np.full(frame.u.shape, -1.0), np.full(frame.u.shape, -1.0)
    for sign in (-1, 1):
        lean = spread + float(rng.normal(0.0, 0.08))
        start_u, start_v = shoulder - 0.75 * radius, (joint + 0.08) * frame.aspect
        du, dv = sign * frame.u - start_u, frame.v * frame.aspect - start_v
        length = lean * lean + (reach * frame.aspect) ** 2
        t = np.clip((du * lean + dv * reach * frame.aspect) / length, 0.0, 1.0)
        distance = np.sqrt((du - t * lean) ** 2 + (dv - t * reach * frame.aspect) ** 2)
        flesh = np.maximum(flesh, radius * (1.0 - 0.1 * t) - distance)
        bone = np.maximum(bone, radius * (0.28 + 0.25 * bump(t * 5.0)) - distance)
    return flesh, bone


def largest_component(mask: Bools) -> Bools:
    """The largest connected part of a mask (4-neighbours), its holes filled."""
    parts, found = ndimage.label(mask)
    if found == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    filled: Bools = ndimage.binary_fill_holes(parts == int(np.argmax(sizes)))
    return filled
