"""What lies in and over the regions of a chest: bones, vessels, airways, gas, breasts, each as projected thickness.

Every function returns float64 (H, W) layers, mostly between 0 and 1, in the frame of `chest_anatomy`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp.data._phantoms.chest_anatomy import (
    A_TABLE,
    Bools,
    Floats,
    Frame,
    Rng,
    Side,
    bump,
    chance,
    ramp,
    smooth_noise,
)

_TUBE_AT: Floats = np.linspace(0.0, 1.2, 121)
_TUBE: Floats = (0.42 + 0.58 * np.minimum(_TUBE_AT, 1.0) ** 3) * ramp((1.15 - _TUBE_AT) / 0.3)


def _tube(distance: Floats) -> Floats:
    """Projection of a hollow bone: 1 at its edges, less between, nothing beyond a distance of 1."""
    return np.interp(np.abs(distance), _TUBE_AT, _TUBE)


def _rib_set(rng: Rng, frame: Frame, side: Side, front: bool) -> Floats:
    """All back or all front ribs of one side at once: bands of equal phase that turn at the side wall."""
    spacing = float(rng.uniform(0.085, 0.125))
    fall = float(rng.uniform(0.12, 0.35)) * (-0.8 if front else 1.0)
    at = np.linspace(0.0, 1.0, 201)
    arch = np.sqrt(1.03 - at * at)
    slope = abs(fall) * at / (arch + 0.05) * frame.aspect
    shift = (fall * arch - (0.03 if front else -0.05) * (1.0 - at) * (1.0 - at)) / spacing + float(rng.uniform())
    slimness = 1.0 / (float(rng.uniform(0.24, 0.4)) * np.minimum(np.sqrt(1.0 + slope * slope), 1.7))
    reach = ramp((at - 0.3) / 0.2) if front else ramp((at - 0.12) / 0.04)
    s = side.a / (side.cage * 1.04)
    phase = frame.v / spacing + np.interp(s, at, shift)
    centred = phase - np.floor(phase) - 0.5
    inside = ramp((side.cage * 1.05 - side.a) / 0.05) * ramp((frame.v + 0.1) / 0.1) * ramp((1.5 - frame.v) / 0.3)
    return np.asarray(_tube(centred * np.interp(s, at, slimness)) * np.interp(s, at, reach) * inside, dtype=np.float64)


def draw_ribs(rng: Rng, frame: Frame, sides: tuple[Side, Side]) -> Floats:
    """Back and front ribs of both sides."""
    front = float(rng.uniform(0.3, 0.9))
    layer = np.zeros(frame.u.shape)
    for side in sides:
        layer += _rib_set(rng, frame, side, front=False) + front * _rib_set(rng, frame, side, front=True)
    return layer


def draw_clavicles(rng: Rng, frame: Frame) -> Floats:
    """The two collar bones, S-shaped, across the apices or above them."""
    start, rise = float(rng.uniform(0.04, 0.2)), float(rng.uniform(-0.05, 0.28))
    sway, half = float(rng.uniform(0.02, 0.06)), float(rng.uniform(0.02, 0.032))
    layer = np.zeros(frame.u.shape)
    for sign in (-1, 1):
        t = np.clip((A_TABLE - 0.1) / 1.2, 0.0, 1.0)
        centre = start + float(rng.normal(0.0, 0.02)) - rise * t + sway * np.sin(t * 6.2832)
        width = half * (1.0 + 0.6 * bump(t * 4.0) + 0.3 * t)
        ends = ramp((A_TABLE - 0.1) / 0.03) * ramp((1.32 - A_TABLE) / 0.05)
        middle, slim, seen = (np.interp(sign * frame.u, A_TABLE, table) for table in (centre, 1.0 / width, ends))
        layer += _tube((frame.v - middle) * slim) * seen
    return layer


def draw_scapulae(rng: Rng, frame: Frame) -> Floats:
    """Shoulder blades: thin triangles with a dense outer border, over the lung's edge or clear of it."""
    shift, top = float(rng.uniform(-0.1, 0.3)), float(rng.uniform(-0.08, 0.08))
    length, plate = float(rng.uniform(0.4, 0.65)), float(rng.uniform(0.3, 0.7))
    layer = np.zeros(frame.u.shape)
    for sign in (-1, 1):
        a = sign * frame.u - shift - float(rng.normal(0.0, 0.03))
        t = (frame.v - top) / length
        medial, lateral = 0.78 + 0.12 * t, 1.3 - 0.33 * t
        inside = ramp((a - medial) / 0.04) * ramp((lateral - a) / 0.04) * ramp(t / 0.12) * ramp((1.0 - t) / 0.08)
        border = bump((lateral - 0.03 - a) / 0.06) + 0.5 * bump((medial + 0.02 - a) / 0.04)
        spine = bump((frame.v - top - 0.1 * length + 0.25 * (a - 1.0)) / 0.05) * ramp((a - 0.8) / 0.1)
        layer += inside * (plate + border) + 0.6 * spine * ramp((1.45 - a) / 0.1)
    return layer


def draw_spine(rng: Rng, frame: Frame) -> tuple[Floats, Floats]:
    """The column of vertebrae with discs, pedicles and spinous processes, and its distance from the midline."""
    half = float(rng.uniform(0.1, 0.16))
    bend = float(rng.normal(0.0, 0.03))
    off = frame.u - bend * np.sin(3.0 * frame.v + float(rng.uniform(0.0, 6.0)))
    phase = frame.v / float(rng.uniform(0.085, 0.115)) + float(rng.uniform(0.0, 1.0))
    centred = phase - np.floor(phase) - 0.5
    body = ramp((half - np.abs(off)) / 0.04)
    disc = 1.0 - float(rng.uniform(0.1, 0.4)) * ramp((np.abs(centred) - 0.36) / 0.1)
    pedicles = bump((np.abs(off) - 0.6 * half) / 0.035) * bump((centred + 0.15) / 0.2)
    process = bump(off / 0.03) * bump((centred - 0.1) / 0.25)
    wings = 0.35 * ramp((1.7 * half - np.abs(off)) / 0.05) * bump(centred / 0.22)
    layer = body * disc + wings * (1.0 - body) + 0.35 * (pedicles + process)
    return np.asarray(layer, dtype=np.float64), np.abs(off) / half


def draw_airway(rng: Rng, frame: Frame) -> Floats:
    """The windpipe, a dark column down to its fork, and the two main bronchi."""
    half, fork = float(rng.uniform(0.05, 0.085)), float(rng.uniform(0.28, 0.42))
    shift = float(rng.normal(0.0, 0.03))
    v, u = frame.v, frame.u - shift * ramp((frame.v + 0.2) / 0.5)
    trunk = np.sqrt(np.maximum(1.0 - (u / half) ** 2, 0.0)) * ramp((fork - v) / 0.03)
    lean = np.abs(u) - np.clip((v - fork) * 1.3, 0.0, 1.0)
    below = ramp((v - fork + 0.02) / 0.03) * ramp((fork + 0.14 - v) / 0.1)
    return np.asarray(trunk + 0.6 * bump(lean / (1.2 * half)) * below, dtype=np.float64)


def draw_vessels(rng: Rng, frame: Frame, lungs: Bools) -> Floats:
    """Vessels that leave the hila, fork and thin out towards the chest wall."""
    layer = np.zeros(frame.u.shape)
    pixel = max(frame.u.shape) / 256.0
    hilum = float(rng.uniform(0.36, 0.48))
    for sign in (-1, 1):
        count = int(rng.integers(7, 12))
        u, v = np.full(count, 0.2), hilum + rng.uniform(-0.05, 0.07, count)
        heading = np.linspace(-1.35, 1.5, count) + rng.normal(0.0, 0.12, count)
        length = 0.32
        for generation, weight in enumerate((1.0, 0.6, 0.4, 0.28)):
            steps = rng.normal(0.0, 0.07, (len(u), 24)).cumsum(axis=1) + heading[:, None]
            path_u = u[:, None] + (np.cos(steps) * length / 24).cumsum(axis=1)
            path_v = v[:, None] + (np.sin(steps) * length / 24 / frame.aspect).cumsum(axis=1)
            dots = np.zeros(frame.u.shape)
            dots[frame.pixels(sign * path_u, path_v)] = 1.0
            width = (1.5 - 0.35 * generation) * pixel
            layer += weight * 2.0 * width * ndimage.gaussian_filter(dots, width, truncate=2.5)
            at = rng.integers(10, 24, (2, len(u)))
            row = np.arange(len(u))
            u, v = path_u[row, at].ravel(), path_v[row, at].ravel()
            turn = rng.uniform(0.2, 0.6, at.shape) * np.array([[1.0], [-1.0]])
            heading, length = (steps[row, at] + turn).ravel(), length * 0.72
    return np.asarray(np.minimum(layer, 1.5) * lungs, dtype=np.float64)


def draw_hila(rng: Rng, frame: Frame) -> Floats:
    """Soft dense roots of both lungs."""
    layer = np.zeros(frame.u.shape)
    for sign in (-1, 1):
        du = sign * frame.u - float(rng.uniform(0.2, 0.32))
        dv = (frame.v - float(rng.uniform(0.38, 0.5))) * frame.aspect
        layer += float(rng.uniform(0.3, 1.0)) * bump(np.sqrt((du / 0.22) ** 2 + (dv / 0.32) ** 2))
    return layer


def draw_breasts(rng: Rng, frame: Frame) -> Floats:
    """Breast shadows with a crisp lower edge; nothing in most patients."""
    layer = np.zeros(frame.u.shape)
    if chance(rng, 0.55):
        return layer
    size, level = float(rng.uniform(0.35, 0.62)), float(rng.uniform(0.7, 1.0))
    for sign in (-1, 1):
        du = sign * frame.u - float(rng.uniform(0.5, 0.75))
        dv = (frame.v - level) * frame.aspect
        radius = np.sqrt(du * du + np.where(dv > 0, dv, 0.7 * dv) ** 2) / size
        layer += np.power(np.maximum(1.0 - radius, 0.0), 0.4) * ramp((dv / size + 1.0) / 1.2)
    return layer


def draw_gas(rng: Rng, frame: Frame, level: float) -> Floats:
    """Stomach bubble below the left dome, often with a flat fluid level, and loops of bowel gas lower down."""
    du, dv = frame.u - float(rng.uniform(0.3, 0.6)), (frame.v - level - float(rng.uniform(0.08, 0.16))) * frame.aspect
    wide, tall = float(rng.uniform(0.12, 0.32)), float(rng.uniform(0.08, 0.2))
    bubble = ramp((1.0 - (du / wide) ** 2 - (dv / tall) ** 2) / 0.35)
    if chance(rng, 0.6):
        bubble = bubble * ramp((float(rng.uniform(0.0, 0.6)) * tall - dv) / 0.03)
    layer = bubble if chance(rng, 0.75) else np.zeros(frame.u.shape)
    for _ in range(int(rng.integers(0, 8)) // 2):
        du = frame.u - float(rng.uniform(-0.8, 0.9))
        dv = (frame.v - level - float(rng.uniform(0.25, 0.5))) * frame.aspect
        wide, tall = float(rng.uniform(0.06, 0.2)), float(rng.uniform(0.05, 0.15))
        loop = ramp((1.0 - (du / wide) ** 2 - (dv / tall) ** 2) / 0.5)
        layer = np.maximum(layer, float(rng.uniform(0.2, 0.7)) * loop)
    return np.asarray(layer, dtype=np.float64)


_GLYPHS = {
    "L": ("1000", "1000", "1000", "1000", "1000", "1000", "1111"),
    "R": ("1110", "1001", "1001", "1110", "1100", "1010", "1001"),
    "A": ("0110", "1001", "1001", "1111", "1001", "1001", "1001"),
    "P": ("1110", "1001", "1001", "1110", "1000", "1000", "1000"),
}


def expose(
    labels: NDArray[np.uint8], layers: dict[str, Floats], seen: Bools, rng: Rng, sick: bool | None = None
) -> NDArray[np.uint8]:
    """Film of a chest, uint8 (H, W): the sum of its layers through a random exposure.

    Args:
        labels: region map, 0 for air outside the body.
        layers: projected thickness by name, as `chest.anatomy` makes them.
        seen: where the collimator let the rays through.
        rng: the only source of chance.
        sick: whether the lungs show disease; drawn where None.
    """
    diseased = chance(rng, 0.35) if sick is None else sick
    dense = _attenuation(layers, rng)
    if diseased:
        dense = dense + _infiltrates(layers["lungs"], rng)
    pixel = max(dense.shape) / 256.0
    dense = ndimage.gaussian_filter(dense, pixel * float(rng.uniform(0.15, 1.0)), truncate=3.0)
    dense = _scatter(dense, rng)
    grey = _tone(dense, layers["lungs"] > 0, labels > 0, rng)
    grey = _grain(grey, pixel, rng)
    grey = np.where(seen, grey, _border_grey(rng))
    _mark(grey, labels, rng)
    film: NDArray[np.uint8] = np.floor(np.clip(grey, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return film


def _attenuation(layers: dict[str, Floats], rng: Rng) -> Floats:
    def amount(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    bone = amount(0.5, 1.3)
    dense = layers["flesh"] * (1.0 + 0.06 * smooth_noise(rng, layers["flesh"].shape, 6))
    dense = dense - layers["air"] * amount(0.5, 0.8)
    soft = (("heart", 0.05, 0.25), ("abdomen", 0.05, 0.38), ("breasts", 0.05, 0.3), ("hila", 0.0, 0.13))
    for name, low, high in soft:
        dense = dense + layers[name] * amount(low, high)
    for name, low, high in (("ribs", 0.05, 0.24), ("clavicles", 0.08, 0.26), ("scapulae", 0.04, 0.18)):
        dense = dense + layers[name] * (1.0 - 0.7 * layers["abdomen"]) * bone * amount(low, high)
    dense = dense + layers["spine"] * bone * amount(0.05, 0.22) + layers["arm_bones"] * bone * amount(0.1, 0.25)
    dense = dense - layers["airway"] * amount(0.02, 0.2) - layers["gas"] * amount(0.15, 0.5)
    mesh = ndimage.gaussian_filter(rng.standard_normal(dense.shape), max(dense.shape) / 256.0)
    lung = layers["vessels"] * amount(0.05, 0.2) + layers["lungs"] * mesh * amount(0.0, 0.07)
    return np.asarray(np.maximum(dense + lung, 0.06 * (layers["flesh"] > 0)), dtype=np.float64)


def _infiltrates(lungs: Floats, rng: Rng) -> Floats:
    """Patchy opacities, nodules or a broad veil inside the lungs; the lung keeps its outline."""
    rows, cols = np.nonzero(lungs)
    y, x = np.arange(lungs.shape[0])[:, None], np.arange(lungs.shape[1])[None, :]
    texture = 1.0 + 0.5 * smooth_noise(rng, (lungs.shape[0], lungs.shape[1]), 24)
    layer = np.zeros(lungs.shape)
    for _ in range(int(rng.integers(1, 9))):
        at = int(rng.integers(0, len(rows)))
        size = max(lungs.shape) * float(rng.uniform(0.015, 0.14))
        squash = float(rng.uniform(0.6, 1.6))
        radius = np.sqrt(((y - rows[at]) / size) ** 2 + ((x - cols[at]) / (size * squash)) ** 2)
        layer += float(rng.uniform(0.05, 0.3)) * bump(radius)
    return np.asarray(np.minimum(layer, 0.4) * np.maximum(texture, 0.2) * lungs, dtype=np.float64)


def _scatter(dense: Floats, rng: Rng) -> Floats:
    """Mix in a coarse copy (scattered rays) or take it away (the maker's edge enhancement)."""
    rows, cols = dense.shape
    step = max(min(rows, cols) // 64, 1)
    coarse = ndimage.gaussian_filter(dense[::step, ::step], float(rng.uniform(2.0, 9.0)))
    wide = ndimage.zoom(coarse, (rows / coarse.shape[0], cols / coarse.shape[1]), order=1)
    share = float(rng.uniform(-0.35, 0.35))
    return np.asarray(np.maximum(dense + share * (wide - dense), 0.0), dtype=np.float64)


def _tone(dense: Floats, lungs: Bools, body: Bools, rng: Rng) -> Floats:
    """Power law that sends the lungs and the densest tissue to drawn greys, then exposure gradients and haze."""
    low = float(np.median(dense[lungs]))
    high = float(np.percentile(dense[body], 95.0))
    bright = float(rng.uniform(0.62, 1.03))
    dark = bright * float(rng.uniform(0.12, 0.72))
    power = float(np.log(dark / bright) / np.log(np.clip(low / high, 0.05, 0.9)))
    toe = 0.4 * low
    dense = np.where(body, 0.5 * (dense + toe + np.sqrt((dense - toe) ** 2 + 0.05 * low * low)), dense)
    grey = bright * np.power(dense / high, min(power, 4.0))
    bend = float(rng.uniform(0.0, 1.0))
    shape = (dense.shape[0], dense.shape[1])
    tilt = 1.0 + float(rng.uniform(0.0, 0.08)) * smooth_noise(rng, shape, 2)
    haze = float(rng.uniform(0.0, 0.15)) if chance(rng, 0.5) else 0.0
    soft = grey * (1.0 - bend) + bend * ramp(0.12 + 0.8 * grey)
    return np.asarray(haze + (1.0 - haze) * soft * tilt, dtype=np.float64)


def _grain(grey: Floats, pixel: float, rng: Rng) -> Floats:
    noise = rng.standard_normal(grey.shape)
    if chance(rng, 0.5):
        noise = 2.0 * pixel * ndimage.gaussian_filter(noise, 0.6 * pixel)
    return np.asarray(grey + float(rng.uniform(0.0, 1.0)) ** 3 * 0.04 * noise, dtype=np.float64)


def collimate(lungs: Bools, rng: Rng) -> Bools:
    """Where the rays reach the film: everywhere, or within straight, slightly skew edges that spare the lungs."""
    seen = np.ones(lungs.shape, np.bool_)
    if chance(rng, 0.6):
        return seen
    height, width = lungs.shape
    rows, cols = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    row, col = np.arange(height)[:, None], np.arange(width)[None, :]
    skew = float(rng.normal(0.0, 0.006))
    gaps = (rows[0], height - 1 - rows[-1], cols[0], width - 1 - cols[-1])
    over = (row - skew * col, height - 1 - row + skew * col, col + skew * row, width - 1 - col - skew * row)
    for gap, distance in zip(gaps, over, strict=True):
        if chance(rng, 0.5):
            seen &= distance >= float(gap) * float(rng.uniform(0.0, 1.0)) ** 2 * 0.95
    return seen | lungs


def _border_grey(rng: Rng) -> float:
    """Unexposed film is black as a rule, now and then white or grey."""
    return float(rng.uniform(0.7, 1.0)) if chance(rng, 0.15) else float(rng.uniform(0.0, 0.06))


def _mark(grey: Floats, labels: NDArray[np.uint8], rng: Rng) -> None:
    """Stamp side letters into the upper corners, in place."""
    scale = max(1, round(max(grey.shape) / 256.0 * float(rng.uniform(0.8, 2.4))))
    for text, left in (("R", True), ("L", False), ("PA", True), ("AP", False)):
        if not chance(rng, 0.35 if len(text) == 1 else 0.1):
            continue
        rows = ["0".join(_GLYPHS[letter][row] for letter in text) for row in range(7)]
        stamp = np.kron(np.array([[int(bit) for bit in row] for row in rows]), np.ones((scale, scale), np.int64)) > 0
        top = int(rng.uniform(0.01, 0.2) * grey.shape[0])
        side = int(rng.uniform(0.01, 0.16) * grey.shape[1])
        start = side if left else grey.shape[1] - side - stamp.shape[1]
        where = np.s_[top : top + stamp.shape[0], start : start + stamp.shape[1]]
        if np.isin(labels[where], (2, 3)).any():
            continue
        grey[where] = np.where(stamp, float(rng.uniform(0.8, 1.0)), grey[where])
