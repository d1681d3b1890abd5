"""Acoustics of the fetal-head phantom: from a label map to a B-mode picture.

The picture is made as a scanner makes it: echoes along beams, weakened by what they have passed, blurred by the beam's
width, turned into an envelope and log-compressed, then converted from beams to rows and columns. Levels are grey
values, 0 black and 1 white, on the compressed scale.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

from salip_exp._files import png, write_bytes
from salip_exp.data._phantoms.head_anatomy import LABELS, PARTS, anatomy
from salip_exp.data._phantoms.head_geometry import (
    Array,
    Fan,
    HeadScene,
    ellipse_circumference,
    ellipse_frame,
    ellipse_outline,
    scene_scale,
    smooth_noise,
)


def render(scene: HeadScene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one B-mode picture of a scene, uint8 (H, W); every call draws other tissue levels, gain and artefacts."""
    shape = scene.labels.shape
    scale = scene_scale((shape[0], shape[1]))
    radii, angles = _beams(scene, scale)
    column = (shape[1] - 1) / 2 + scale * (scene.fan.apex[0] + radii * np.sin(angles))
    row = scale * (scene.fan.apex[1] + radii * np.cos(angles))
    labels = scene.labels[_index(row, shape[0]), _index(column, shape[1])]
    u, v = ellipse_frame(column, row, scene.ellipse)
    level = _echo_level(rng, labels, u, v, angles, scene)
    level += _transmission(rng, labels, radii, u, v)
    level = np.maximum(level, _haze(rng, radii, labels.shape))
    grey = _envelope(rng, level, scale, radii, angles)
    picture = _scan_convert(grey, scene.fan, radii, angles, (shape[0], shape[1]))
    return _display(rng, picture, scene.labels)


def _index(position: Array, n: int) -> NDArray[np.intp]:
    """Nearest index below `n` of each position."""
    return np.clip(np.rint(position), 0, n - 1).astype(np.intp)


def _beams(scene: HeadScene, scale: float) -> tuple[Array, Array]:
    """Radii (R, 1) and angles (1, B) of the samples along the visible part of the fan, about one a pixel."""
    fan, (height, width) = scene.fan, scene.labels.shape
    half = width / scale / 2
    deepest = np.hypot(half + abs(fan.apex[0]), height / scale - fan.apex[1])
    near, far = max(fan.near, -fan.apex[1]), min(fan.far, float(deepest))
    n = max(int((far - near) * scale), 8)
    limit = np.arctan2(half + abs(fan.apex[0]), max(-fan.apex[1], 0.05))
    left, right = max(fan.left, -limit), min(fan.right, limit)
    beams = max(int((right - left) * (0.4 * near + 0.6 * far) * scale * 0.8), 8)
    return np.linspace(near, far, n)[:, None], np.linspace(left, right, beams)[None, :]


def _draw_levels(rng: np.random.Generator) -> tuple[Array, Array]:
    """Mean grey level and mottle of each label for one picture, two arrays indexed by label."""
    tissue = float(rng.uniform(0.2, 0.62))
    dark = float(rng.uniform(-0.35, 0.2))
    brain = float(rng.choice([rng.uniform(-0.15, 0.2), rng.uniform(0.15, 0.4), tissue + rng.normal(0, 0.08)]))
    bright = brain + float(rng.uniform(0.1, 0.35))
    level = np.zeros(len(LABELS))
    level[LABELS["outside"]] = -0.5
    for name in ("abdominal_wall", "muscle", "uterine_wall", "maternal_tissue", "placenta"):
        level[LABELS[name]] = tissue + rng.normal(0, 0.1)
    if rng.random() < 0.4:
        level[LABELS[str(rng.choice(["uterine_wall", "maternal_tissue", "placenta"]))]] += rng.uniform(0.1, 0.4)
    level[LABELS["amniotic_fluid"]] = min(dark, tissue - 0.1)
    level[LABELS["skull"]] = rng.uniform(0.75, 1.1)
    level[LABELS["scalp"]] = rng.uniform(0.0, 0.5)
    level[LABELS["brain"]] = level[LABELS["head_unseen"]] = brain
    level[LABELS["brain_echo"]] = brain + rng.uniform(0, 0.3)
    level[LABELS["falx"]] = min(brain + rng.uniform(0.15, 0.6), 0.95)
    level[LABELS["ventricle"]] = level[LABELS["cavum"]] = brain - rng.uniform(0, 0.35)
    level[LABELS["choroid_plexus"]] = bright
    level[LABELS["thalami"]] = brain + rng.normal(0, 0.1)
    level[LABELS["cerebellum"]] = brain + rng.normal(0.05, 0.1)
    level[LABELS["body"]] = level[LABELS["limb"]] = tissue + rng.normal(0.03, 0.1)
    level[LABELS["reflector"]] = rng.uniform(tissue, 1.0)
    return level, rng.uniform(0.02, 0.12, len(LABELS))


def _echo_level(
    rng: np.random.Generator, labels: NDArray[np.uint8], u: Array, v: Array, angles: Array, scene: HeadScene
) -> Array:
    """Grey level of the echoes before propagation: tissue means, mottle at two scales, incomplete skull."""
    means, mottle = _draw_levels(rng)
    level = means[labels]
    cloud = 0.6 * smooth_noise(rng, (7, 9), labels.shape) + 0.5 * smooth_noise(rng, (40, 40), labels.shape)
    streaks = smooth_noise(rng, (90, 30), labels.shape)
    level += mottle[labels] * (cloud + rng.uniform(0, 0.9) * streaks)
    # Short bright echoes where an interface lies across the beam, as gyri and vessels give.
    inside = (labels >= LABELS["brain"]) & (labels <= LABELS["cerebellum"])
    level += rng.uniform(0, 0.5) * inside * np.clip(streaks + 0.7 * cloud - rng.uniform(1.0, 2.2), 0, 1)
    bone = labels == LABELS["skull"]
    drop = _skull_drop(rng, u[bone], v[bone], np.broadcast_to(angles, labels.shape)[bone], scene)
    floor = means[LABELS["brain"]] + rng.uniform(-0.05, 0.2)
    level[bone] = np.maximum(level[bone] - drop, min(floor, means[LABELS["skull"]]))
    return level


def _skull_drop(rng: np.random.Generator, u: Array, v: Array, beam: Array, scene: HeadScene) -> Array:
    """How many grey levels the skull loses at points (u, v): where it runs along the beam, in gaps, on one half."""
    _, _, a, b, turn = scene.ellipse
    phi = np.arctan2(v, u)
    nu, nv = u / a, v / b
    normal = np.arctan2(nu * np.cos(turn) - nv * np.sin(turn), nu * np.sin(turn) + nv * np.cos(turn))
    facing = np.abs(np.cos(normal - beam))
    drop = rng.uniform(0.2, 1.3) * (1 - facing) ** rng.uniform(0.7, 2.0)
    for k in (1, 2, 4, 7, 11):
        drop += rng.uniform(0, 0.14) * np.cos(k * phi + rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.integers(0, 5))):
        distance = np.abs(np.angle(np.exp(1j * (phi - rng.uniform(-np.pi, np.pi)))))
        drop += rng.uniform(0.2, 0.9) * np.exp(-((distance / rng.uniform(0.03, 0.35)) ** 2))
    if rng.random() < 0.3:
        drop += rng.uniform(0.1, 0.8) * (0.5 + 0.5 * np.cos(phi - rng.uniform(-np.pi, np.pi)))
    # Sonographers keep pictures on which enough of the skull shows: a third of it stays near its full brightness.
    return np.asarray(drop - max(0.0, _quantile(drop, 0.35) - rng.uniform(0.1, 0.35)), dtype=np.float64)


def _transmission(rng: np.random.Generator, labels: NDArray[np.uint8], radii: Array, u: Array, v: Array) -> Array:
    """Grey levels gained or lost on the way: absorption, shadows behind bone, depth gain, poor contact, skull haze."""
    loss = np.full(len(LABELS), float(rng.uniform(0.1, 0.4)))
    loss[LABELS["amniotic_fluid"]] = 0.0
    loss[LABELS["skull"] : LABELS["head_unseen"]] = rng.uniform(0.05, 0.25)
    loss[LABELS["skull"]] = rng.uniform(0.3, 4.0)
    loss[LABELS["reflector"]] = rng.uniform(0.5, 6.0)
    step = float(radii[1, 0] - radii[0, 0])
    gain = gaussian_filter1d(
        -np.cumsum(loss[labels], axis=0) * step, labels.shape[1] * rng.uniform(0.003, 0.015), axis=1
    )
    depth = (radii - radii[0, 0]) / (radii[-1, 0] - radii[0, 0])
    gain += rng.uniform(-0.15, 0.45) * depth
    centre, width = rng.uniform(0, 1), rng.uniform(0.1, 0.3)
    gain += rng.normal(0, 0.08) * np.exp(-(((depth - centre) / width) ** 2))
    gain += rng.uniform(0, 0.08) * smooth_noise(rng, (2, 12), labels.shape)
    across = np.linspace(-1, 1, labels.shape[1])[None, :]
    for side in (-1, 1):
        if rng.random() < 0.3:
            gain -= rng.uniform(0.1, 0.9) * np.clip((side * across - rng.uniform(0.2, 0.9)) * 3, 0, 1)
    if rng.random() < 0.4:
        # The near skull's reverberation veils the upper half of the brain.
        rho = np.sqrt(u * u + v * v)
        top = np.cumsum(rho <= 1, axis=0) * step
        gain += rng.uniform(0.05, 0.3) * (rho <= 1) * np.exp(-top / rng.uniform(0.05, 0.25))
    return np.asarray(gain, dtype=np.float64)


def _haze(rng: np.random.Generator, radii: Array, shape: tuple[int, ...]) -> Array:
    """Floor of the picture: electronic noise, and near-field clutter with its reverberation rings, (R, B)."""
    depth = radii - radii[0, 0]
    floor = float(rng.uniform(-0.4, 0.08)) + rng.uniform(0, 0.15) * depth
    haze = rng.uniform(0.1, 0.6) - depth / rng.uniform(0.1, 0.6)
    if rng.random() < 0.35:
        haze += rng.uniform(0.03, 0.2) * np.cos(depth * (2 * np.pi / rng.uniform(0.012, 0.04)))
    lateral = 0.1 * smooth_noise(rng, (2, 6), (shape[0], shape[1]))
    return np.asarray(np.maximum(floor, haze) + lateral, dtype=np.float64)


def _envelope(rng: np.random.Generator, level: Array, scale: float, radii: Array, angles: Array) -> Array:
    """Speckled, beam-blurred, log-compressed grey levels (R, B) of echo levels on the beams' grid."""
    decades = float(rng.uniform(1.8, 3.2))  # grey levels 0 to 1 span this many factors of ten in amplitude
    amplitude = 10.0 ** (decades * (np.clip(level, -1.0, 1.3) - 1.0))
    across = float(angles[0, 1] - angles[0, 0]) * float(radii[-1, 0] + radii[0, 0]) / 2
    lateral = max(float(rng.choice([rng.uniform(0.003, 0.008), rng.uniform(0.006, 0.018)])) / across, 0.7)
    axial = max(float(rng.uniform(0.0015, 0.0055)) * scale, 0.6)

    def blur(field: Array) -> Array:
        smooth = gaussian_filter1d(field, axial, axis=0, truncate=3.0)
        return np.asarray(gaussian_filter1d(smooth, lateral, axis=1, truncate=3.0), dtype=np.float64)

    energy = 4 * np.pi * lateral * axial / 2
    # Side lobes smear strong echoes sideways.
    amplitude += rng.uniform(0, 0.15) * gaussian_filter1d(amplitude, 5 * lateral, axis=1, truncate=2.0)
    power = sum(blur(amplitude * rng.standard_normal(level.shape)) ** 2 for _ in range(2)) * energy
    mean = blur(amplitude * amplitude)
    compounding = float(rng.uniform(0.0, 0.7))
    speckled = (1 - compounding) * np.log10(power + 1e-7) + compounding * np.log10(mean + 1e-7)
    return np.asarray(1.0 + speckled / (2 * decades), dtype=np.float64)


def _scan_convert(grey: Array, fan: Fan, radii: Array, angles: Array, shape: tuple[int, int]) -> Array:
    """Resample the beams' grid (R, B) to the frame (H, W), bilinearly."""
    scale = scene_scale(shape)
    x = (np.arange(shape[1], dtype=np.float64)[None, :] - (shape[1] - 1) / 2) / scale
    y = np.arange(shape[0], dtype=np.float64)[:, None] / scale
    radius, angle = fan.polar(x, y)
    i = (radius - radii[0, 0]) * ((grey.shape[0] - 1) / (radii[-1, 0] - radii[0, 0]))
    j = (angle - angles[0, 0]) * ((grey.shape[1] - 1) / (angles[0, -1] - angles[0, 0]))
    return np.asarray(map_coordinates(grey, [i, j], order=1, mode="nearest"), dtype=np.float64)


def _display(rng: np.random.Generator, picture: Array, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Apply gain and grey map, blank what the scanner does not show, and add the grey-scale bar."""
    gain, contrast = float(rng.normal(0.0, 0.09)), float(rng.uniform(0.75, 1.25))
    shown = (labels != LABELS["outside"]) & (labels != LABELS["head_unseen"])
    gain -= max(0.0, _quantile(picture[shown], 0.7) + gain - rng.uniform(0.4, 0.8))
    gain += max(0.0, rng.uniform(0.3, 0.7) - _quantile(picture[shown & (labels == LABELS["skull"])], 0.75) - gain)
    grey = np.clip((picture + gain) * contrast, 0.0, 1.0) ** rng.uniform(0.7, 1.4)
    grey *= rng.uniform(0.75, 1.0)
    grey[~shown] = 0.0
    if rng.random() < 0.8:
        height, width = labels.shape
        top, bottom = int(height * rng.uniform(0.01, 0.08)), int(height * rng.uniform(0.25, 0.45))
        bar = slice(int(width * 0.003), max(int(width * rng.uniform(0.006, 0.014)), int(width * 0.003) + 1))
        grey[top:bottom, bar] = np.linspace(1.0, 0.0, bottom - top)[:, None]
    return np.rint(grey * 255).astype(np.uint8)


def _quantile(values: Array, q: float) -> float:
    """The value that a share `q` of the values stays below; 0 without values."""
    return float(np.quantile(values, q)) if values.size else 0.0


__all__ = ["LABELS", "PARTS", "HeadScene", "anatomy", "ellipse_circumference", "render", "write_hc18"]

_CSV = "training_set_pixel_size_and_HC.csv"
_HEADER = ("filename", "pixel size(mm)", "head circumference (mm)")


def write_hc18(root: Path, n: int, seed: int) -> None:
    """Write `n` phantom pictures below `root` as HC18 lays them out.

    `training_set/001_HC.png` (800x540 grey), `training_set/001_HC_Annotation.png` (the ellipse's outline, 255 on 0,
    clipped by the frame), and the table of pixel sizes and circumferences. Every fifth fetus has a second picture,
    `005_2HC.png`: the same scene with other acoustics. Files appear under their names only when whole, the table last.
    """
    folder = root / "training_set"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str]] = []
    for fetus, take in _takes(n):
        name = f"{fetus:03d}_{take if take > 1 else ''}HC"
        scene = anatomy(np.random.default_rng([seed, fetus]))
        write_bytes(folder / f"{name}.png", png(render(scene, np.random.default_rng([seed, fetus, take]))))
        write_bytes(folder / f"{name}_Annotation.png", png(_annotation(scene)))
        rows.append((f"{name}.png", f"{scene.pixel_size_mm:.12f}", f"{scene.head_circumference_mm:.2f}"))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([_HEADER, *rows])
    write_bytes(root / _CSV, table.getvalue().encode())


def _takes(n: int) -> list[tuple[int, int]]:
    """Fetus and take, both from 1, of `n` pictures: every fifth fetus has two."""
    return [(fetus, take) for fetus in range(1, n + 1) for take in ((1, 2) if fetus % 5 == 0 else (1,))][:n]


def _annotation(scene: HeadScene) -> NDArray[np.uint8]:
    """The ellipse's outline as a closed line three pixels wide, uint8 (H, W), 255 on 0."""
    height, width = scene.labels.shape
    outline = np.zeros((height, width), dtype=np.uint8)
    x, y = ellipse_outline(scene.ellipse, 8 * int(scene.ellipse[2] + scene.ellipse[3]) + 8)
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    for down, right in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
        r, c = row + down, column + right
        seen = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        outline[r[seen], c[seen]] = 255
    return outline
