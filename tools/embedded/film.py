"""Chests harder than the phantoms': air beside the trunk, veiled and white lungs, and what lies on the film.

The phantoms' own arms mostly hang, so that air below spread arms (tall, dark, and no lung) is rare among them, and a
CLIP that never met it takes it for a lung. Their lungs are all dark: a SAM that never met a veiled one leaves it out.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.data._phantoms.chest import LABELS, ChestScene
from tools.embedded.randomise import Image, Labels, smooth_noise

Mask = NDArray[np.bool_]


def open_sides(rng: np.random.Generator, scene: ChestScene) -> ChestScene:
    """The scene with the flesh beside the rib cage taken away on one side or both, from the armpit down."""
    width = scene.labels.shape[1]
    air = np.zeros(scene.labels.shape, bool)
    for lung, sign in (("right_lung", -1), ("left_lung", 1)):
        if rng.random() < 0.85:
            air |= beside(rng, scene.labels == LABELS[lung], sign)
    body = cv2.distanceTransform((~air).astype(np.uint8), cv2.DIST_L2, 3)
    edge = np.clip(body / (width * rng.uniform(0.02, 0.12)), 0, 1)
    # Rays cross a rounded flank: the depth of flesh falls to nothing at its edge.
    kept = np.sqrt(1 - (1 - edge) ** 2) * ~air
    bones = {name: scene.layers[name] * ~air for name in ("ribs", "clavicles", "scapulae", "arm_bones", "abdomen")}
    labels = np.where(air, 0, scene.labels).astype(np.uint8)
    return replace(scene, labels=labels, layers=scene.layers | bones | {"flesh": scene.layers["flesh"] * kept})


def beside(rng: np.random.Generator, lung: Mask, sign: int) -> Mask:
    """Air lateral to a lung (H, W): pointed at the armpit, wider below, and at times bounded by an arm.

    Args:
        sign: -1 where the trunk's side is to the left of the lung, 1 to the right.
    """
    height, width = lung.shape
    rows = np.flatnonzero(lung.any(1))
    columns = np.arange(width)
    edge = np.array([columns[line].max() if sign > 0 else -columns[line].min() for line in lung[rows]], float)
    top, low = int(rows[0]), int(rows[-1])
    reach = np.maximum.accumulate(edge)  # the flank does not follow the lung back inwards below its widest row
    flank = np.interp(np.arange(height), rows, reach) + width * rng.uniform(0.015, 0.09)
    below = np.clip((np.arange(height) - low) / height, 0, None)
    flank += below * width * rng.uniform(-0.15, 0.2)
    armpit = top + (low - top) * rng.uniform(-0.05, 0.6)
    depth = np.arange(height) - armpit
    # Where the armpit's fold comes down to the flank, the air begins as a wedge.
    fold = flank + width * (0.6 - rng.uniform(0.55, 1.0)) + depth * float(np.exp(rng.normal(-0.2, 0.8)))
    outer = np.full(height, np.inf)
    if rng.random() < 0.4:
        outer = flank + width * rng.uniform(0.03, 0.2) + np.clip(depth, 0, None) * rng.uniform(-0.1, 0.5)
    x = sign * columns[None, :]
    wedge = (depth > 0)[:, None] & (x > flank[:, None]) & (x < np.minimum(fold, outer)[:, None])
    return np.asarray(wedge & ~lung)


def obscured(rng: np.random.Generator, picture: Image, labels: Labels) -> Image:
    """A film (H, W) in [0, 1] with what hides lungs: a veil on one or both (two of three), lines and devices (half).

    Labels hold: a lung that is not seen is a lung.
    """
    if rng.random() < 0.65:
        for name in ("right_lung", "left_lung"):
            if rng.random() < 0.75:
                picture = veiled(rng, picture, labels == LABELS[name])
    if rng.random() < 0.5:
        picture = with_lines(rng, picture)
    return picture


def veiled(rng: np.random.Generator, picture: Image, lung: Mask) -> Image:
    """The lung lifted towards the grey of what is around it, in patches, or from the bottom up as fluid lies."""
    if not lung.any() or lung.all():
        return picture
    rows = np.flatnonzero(lung.any(1))
    depth = (np.arange(lung.shape[0]) - rows[0]) / max(1, rows[-1] - rows[0])
    patches = smooth_noise(rng, (lung.shape[0], lung.shape[1]), float(rng.uniform(3, 12))) + rng.uniform(-0.5, 1.5)
    fluid = np.broadcast_to((depth - rng.uniform(0.2, 0.9))[:, None] * rng.uniform(4, 20), lung.shape)
    gate = np.clip(patches if rng.random() < 0.6 else fluid, 0, 1) * rng.uniform(0.3, 1.0)
    soft = cv2.GaussianBlur((gate * lung).astype(np.float32), (0, 0), float(rng.uniform(1, 4)))
    dense = float(np.quantile(picture[~lung], rng.uniform(0.5, 0.9)))
    return np.asarray(picture + soft * np.maximum(dense - picture, 0) * rng.uniform(0.5, 1.0), np.float32)


def with_lines(rng: np.random.Generator, picture: Image) -> Image:
    """Bright tubes and leads across the film, their electrodes, and at times the box of a pacemaker."""
    height, width = picture.shape
    drawn = np.zeros(picture.shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        t = np.linspace(0, 1, 40)
        corners = rng.uniform(-0.1, 1.1, (4, 2))
        curve = sum(
            c * k
            for c, k in zip(
                corners[:, :, None], ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3), strict=True
            )
        )
        points = (curve.T * (width, height)).astype(np.int32)
        thick, bright = int(rng.integers(1, 4)), float(rng.uniform(0.15, 0.8))
        cv2.polylines(drawn, [points], False, bright, thick, cv2.LINE_AA)
        if rng.random() < 0.5:
            cv2.circle(drawn, tuple(map(int, points[-1])), int(rng.integers(2, 6)), bright, -1, cv2.LINE_AA)
    if rng.random() < 0.2:
        at = (int(rng.uniform(0.1, 0.9) * width), int(rng.uniform(0.1, 0.4) * height))
        axes = (int(width * rng.uniform(0.03, 0.06)), int(width * rng.uniform(0.02, 0.05)))
        cv2.ellipse(drawn, at, axes, float(rng.uniform(0, 180)), 0, 360, 0.9, -1, cv2.LINE_AA)
    return np.asarray(np.clip(picture + drawn * (1 - picture), 0, 1), np.float32)
