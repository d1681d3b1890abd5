"""From projected thickness to a film: attenuation, disease, scatter, exposure, tone, grain and markers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp.data.phantoms.chest_anatomy import Bools, Floats, Rng, bump, chance, ramp, smooth_noise

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
