"""Draw the contact sheet of the phantoms: python tools/docs/phantoms.py"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.data._phantoms import brain, chest, head

SIDE = 224
COLUMNS = 6
SEED = 1234


def tile(picture: NDArray[np.uint8], target: NDArray[np.bool_], title: str, height: int = SIDE) -> NDArray[np.uint8]:
    """A grey picture with its target outlined, fitted into a labelled rectangle."""
    scale = SIDE / max(picture.shape)
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    grey = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(target.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    square = np.zeros((height, SIDE, 3), np.uint8)
    square[: size[1], : size[0]] = grey[:, :, None]
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(square, outlines, -1, (80, 200, 255), 1, cv2.LINE_AA)
    cv2.putText(square, title, (6, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return square


def brains() -> list[NDArray[np.uint8]]:
    """One volume per scanner group, cut in the sagittal and axial plane by turns."""
    tiles = []
    for index, (group, profile) in enumerate(brain.PROFILES.items()):
        rng = np.random.default_rng([SEED, index])
        labels = brain.anatomy(rng, 1.2)
        volume = brain.render(labels, profile, rng, 1.2).astype(np.float64)
        mask = brain.brain_mask(labels, 1.2)
        grey = np.clip(volume / np.percentile(volume[volume > 0], 99.5) * 255, 0, 255).astype(np.uint8)
        axis = 0 if index % 2 == 0 else 2
        middle = int(np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))).mean()) + 6
        cuts = (np.ascontiguousarray(np.rot90(v.take(middle, axis))) for v in (grey, mask))
        tiles.append(tile(*cuts, group))
    return tiles


def heads() -> list[NDArray[np.uint8]]:
    """Fetal heads."""
    tiles = []
    for index in range(COLUMNS):
        rng = np.random.default_rng([SEED, index])
        scene = head.anatomy(rng)
        target = np.isin(scene.labels, head.PARTS["fetal_head"])
        tiles.append(tile(head.render(scene, rng), target, f"head {index + 1}", round(SIDE * 0.675)))
    return tiles


def chests() -> list[NDArray[np.uint8]]:
    """Chest x-rays."""
    tiles = []
    for index in range(COLUMNS):
        rng = np.random.default_rng([SEED, index])
        scene = chest.anatomy(rng)
        target = np.isin(scene.labels, chest.PARTS["lungs"])
        tiles.append(tile(chest.render(scene, rng), target, f"chest {index + 1}"))
    return tiles


if __name__ == "__main__":
    sheet = np.vstack([np.hstack(row) for row in (brains(), heads(), chests())])
    cv2.imwrite(str(Path(__file__).parents[2] / "docs" / "pictures" / "phantoms.png"), sheet)
