"""Chest phantoms with air beside the trunk, as films show it below spread arms: tall, dark, and no lung.

The phantoms' own arms mostly hang, so such air is rare among them, and a CLIP that never met it takes it for a lung.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.data._phantoms.chest import LABELS, ChestScene

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
