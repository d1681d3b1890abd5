"""Fetal-head ultrasound phantoms: scenes, pictures, and folders in the native layout of HC18."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salip_exp.data.phantoms.head_anatomy import LABELS, PARTS, anatomy
from salip_exp.data.phantoms.head_geometry import HeadScene, ellipse_circumference, ellipse_outline
from salip_exp.data.phantoms.head_render import render
from salip_exp.files import png, write_bytes

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
