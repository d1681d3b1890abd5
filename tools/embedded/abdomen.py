"""CT slices of an abdomen: a trunk on its table with liver, spleen, kidneys and what lies between, in a random window.

Drawn flat, slice by slice, for training alone. Levels run from the dome of the liver to the lower ends of the kidneys;
the liver is on the left of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.embedded.randomise import smooth_noise
from tools.embedded.shapes import Canvas, Field, Mask

_NAMES = (
    "fat muscle ribs spine lung heart bowel gas stomach spleen right_kidney left_kidney liver gallbladder aorta "
    "vena_cava table"
)
LABELS = {name: number for number, name in enumerate(_NAMES.split(), 1)}
_TRUNK = tuple(number for name, number in LABELS.items() if name != "table")
PARTS: dict[str, tuple[int, ...]] = {
    "liver": (LABELS["liver"],),
    "spleen": (LABELS["spleen"],),
    "right_kidney": (LABELS["right_kidney"],),
    "left_kidney": (LABELS["left_kidney"],),
    **{name: (LABELS[name],) for name in ("stomach", "spine", "lung", "heart", "gallbladder", "aorta", "bowel", "gas")},
    "muscle": (LABELS["muscle"], LABELS["ribs"]),
    "cavity_of_trunk": tuple(n for n in _TRUNK if n not in (LABELS["fat"], LABELS["muscle"], LABELS["ribs"])),
    "body": _TRUNK,
}
_HOUNSFIELD = {
    "fat": (-120, -70), "muscle": (35, 75), "ribs": (180, 600), "spine": (130, 420), "lung": (-900, -700),
    "heart": (40, 220), "bowel": (-20, 90), "gas": (-1000, -700), "stomach": (-30, 180), "spleen": (45, 150),
    "right_kidney": (30, 230), "left_kidney": (30, 230), "liver": (40, 150), "gallbladder": (0, 30),
    "aorta": (40, 320), "vena_cava": (40, 200), "table": (-700, 100),
}  # fmt: skip


@dataclass(frozen=True)
class _Trunk:
    """Half width and half height of the body, thickness of fat and wall, and the level: 0 the dome, 1 the kidneys."""

    width: float
    height: float
    fat: float
    wall: float
    level: float


def abdomen(rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A slice: picture and labels, both uint8 (side, side)."""
    canvas = Canvas(rng, side)
    width = float(rng.uniform(0.62, 0.95))
    trunk = _Trunk(width, width * float(rng.uniform(0.62, 0.85)), float(rng.uniform(0.02, 0.12)) * width,
                   float(rng.uniform(0.03, 0.07)) * width, float(rng.random()))  # fmt: skip
    labels, cavity = _walls(canvas, trunk)
    for draw in (_bowels, _lungs, _spine, _stomach, _spleen, _kidneys, _liver, _vessels):
        draw(canvas, trunk, labels, cavity)
    return _window(rng, _hounsfield(rng, labels), labels), labels


def _paint(labels: NDArray[np.uint8], name: str, where: Mask) -> None:
    labels[where] = LABELS[name]


def _walls(canvas: Canvas, trunk: _Trunk) -> tuple[NDArray[np.uint8], Mask]:
    rng, labels = canvas.rng, np.zeros((canvas.side, canvas.side), np.uint8)
    if rng.random() < 0.6:
        low = trunk.height * rng.uniform(0.95, 1.05)
        bend = low - rng.uniform(0, 0.25) * canvas.x**2
        _paint(labels, "table", (canvas.y > bend) & (canvas.y < bend + rng.uniform(0.01, 0.05)))
    shapes = []
    for less in (0.0, trunk.fat, trunk.fat + trunk.wall):
        across, deep = trunk.width - less, trunk.height - less
        shapes.append(np.abs(canvas.x / across) ** 2.4 + np.abs(canvas.y / deep) ** 2.2 < 1)
    body, meat, cavity = shapes
    _paint(labels, "fat", body)
    _paint(labels, "muscle", meat)
    for angle in np.arange(rng.uniform(0, 0.4), 2 * np.pi, rng.uniform(0.3, 0.55)):
        ring = 1 - (trunk.fat + trunk.wall / 2) / trunk.width
        at = (float(np.cos(angle)) * trunk.width * ring, float(np.sin(angle)) * trunk.height * ring)
        rib = canvas.oval(at, (trunk.wall * 0.4, trunk.wall * rng.uniform(0.5, 1.4)), float(angle))
        _paint(labels, "ribs", (rib > 0) & meat & ~cavity & (trunk.level < rng.uniform(0.5, 1.2)))
    _paint(labels, "fat", cavity)
    return labels, np.asarray(cavity)


def _oval(canvas: Canvas, trunk: _Trunk, at: tuple[float, float], radii: tuple[float, float], turn: float = 0) -> Field:
    """An oval whose place and radii are shares of the trunk's half width and height, each a little off."""
    x, y = (a + canvas.rng.normal(0, 0.03) for a in at)
    across, deep = (canvas.near(r, 0.15) for r in radii)
    return canvas.oval((x * trunk.width, y * trunk.height), (across * trunk.width, deep * trunk.height), turn, 0.08)


def _bowels(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    rng = canvas.rng
    for _ in range(int(rng.integers(2, 5 + int(14 * trunk.level)))):
        at = (float(rng.uniform(-0.7, 0.8)), float(rng.uniform(-0.8, 0.5)))
        loop = _oval(canvas, trunk, at, (rng.uniform(0.05, 0.16), rng.uniform(0.05, 0.16)), rng.uniform(0, 3))
        _paint(labels, "bowel", (loop > 0) & cavity)
        if rng.random() < 0.4:
            _paint(
                labels, "gas", (loop > 0.25) & cavity & (canvas.y < (at[1] + rng.uniform(-0.05, 0.1)) * trunk.height)
            )


def _lungs(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    if trunk.level > 0.35:
        return
    rng, share = canvas.rng, 1 - trunk.level / 0.35
    for sign in (-1, 1):
        dome = _oval(canvas, trunk, (0.45 * sign, -0.05), (0.62 - 0.3 * share * rng.random(), 0.95 - 0.4 * share))
        _paint(labels, "lung", cavity & (dome < 0) & (sign * canvas.x > 0.15 * trunk.width) & (canvas.y > -0.4))
    if rng.random() < 0.6 * share:
        _paint(labels, "heart", (_oval(canvas, trunk, (0.12, -0.5), (0.38, 0.32), 0.3) > 0) & cavity)


def _spine(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    rng = canvas.rng
    low = canvas.near(0.62, 0.06)
    back = _oval(canvas, trunk, (0, 0.95), (0.62, 0.24))
    _paint(labels, "muscle", (back > 0) & (labels > 0) & (labels != LABELS["table"]))
    for sign in (-1, 1):
        psoas = _oval(canvas, trunk, (0.2 * sign, low), (0.1 + 0.05 * trunk.level, 0.13))
        _paint(labels, "muscle", (psoas > 0) & cavity & (trunk.level > 0.4))
    body = _oval(canvas, trunk, (0, low), (0.16, 0.17))
    arch = np.maximum(
        _oval(canvas, trunk, (0, low + 0.3), (0.05, 0.2)), _oval(canvas, trunk, (0, low + 0.2), (0.22, 0.05))
    )
    _paint(labels, "spine", (np.maximum(body, arch) > 0) & (labels > 0))
    if rng.random() < 0.7:
        _paint(labels, "muscle", _oval(canvas, trunk, (0, low + 0.21), (0.06, 0.06)) > 0)


def _stomach(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    rng = canvas.rng
    if rng.random() < 0.2 + 0.5 * max(0.0, trunk.level - 0.5):
        return
    at = (float(rng.uniform(0.2, 0.5)), float(rng.uniform(-0.6, -0.25)))
    sack = _oval(canvas, trunk, at, (rng.uniform(0.18, 0.36), rng.uniform(0.16, 0.32)), rng.uniform(-0.8, 0.8)) > 0
    _paint(labels, "stomach", sack & cavity)
    if rng.random() < 0.6:
        _paint(labels, "gas", sack & cavity & (canvas.y < (at[1] - rng.uniform(-0.05, 0.15)) * trunk.height))


def _spleen(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    rng = canvas.rng
    if not 0.05 < trunk.level + rng.normal(0, 0.1) < 0.75:
        return
    at = (float(rng.uniform(0.6, 0.72)), float(rng.uniform(0.1, 0.4)))
    whole = _oval(canvas, trunk, at, (rng.uniform(0.18, 0.28), rng.uniform(0.28, 0.5)), rng.uniform(-0.2, 0.5)) > 0
    hilum = _oval(canvas, trunk, (at[0] - rng.uniform(0.18, 0.3), at[1] - 0.1), (0.2, 0.3)) > 0
    _paint(labels, "spleen", whole & ~hilum & cavity)


def _kidneys(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    rng = canvas.rng
    for name, sign, from_level in (("right_kidney", -1, 0.55), ("left_kidney", 1, 0.4)):
        if trunk.level + rng.normal(0, 0.08) < from_level:
            continue
        at = (sign * float(rng.uniform(0.38, 0.5)), float(rng.uniform(0.38, 0.55)))
        radii = (float(rng.uniform(0.12, 0.19)), float(rng.uniform(0.18, 0.27)))
        bean = _oval(canvas, trunk, at, radii, sign * rng.uniform(-0.2, 0.6)) > 0
        sinus = _oval(canvas, trunk, (at[0] - sign * radii[0] * rng.uniform(0.5, 1.2), at[1]), (0.07, 0.08)) > 0
        _paint(labels, "fat", cv2.dilate(bean.astype(np.uint8), np.ones((7, 7))).astype(bool) & cavity)
        _paint(labels, name, bean & ~(sinus & (rng.random() < 0.7)) & cavity)


def _liver(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    rng = canvas.rng
    size = float(np.interp(trunk.level, [0, 0.2, 0.6, 1.0], [0.75, 1.0, 0.95, 0.5])) * canvas.near(1, 0.12)
    right = _oval(canvas, trunk, (-0.5, -0.02), (0.46 * size, 0.8 * size), rng.uniform(-0.15, 0.15))
    shape = right
    if trunk.level < rng.uniform(0.45, 0.8):
        reach = float(rng.uniform(0.3, 0.7))
        left = _oval(canvas, trunk, (-0.35 + reach / 2, -0.5), (0.25 + reach / 2, 0.26), rng.uniform(-0.35, 0.15))
        shape = np.maximum(shape, left)
    inner = cv2.erode(cavity.astype(np.uint8), np.ones((3, 3)), iterations=int(rng.integers(1, 4))) > 0
    free = ~np.isin(labels, [LABELS["spine"], LABELS["right_kidney"], LABELS["left_kidney"]])
    _paint(labels, "liver", (shape > 0) & inner & free)
    if trunk.level > 0.3 and rng.random() < 0.5:
        _paint(labels, "gallbladder", _oval(canvas, trunk, (-0.25, -0.3), (0.1, 0.14), rng.uniform(0, 1)) > 0)


def _vessels(canvas: Canvas, trunk: _Trunk, labels: NDArray[np.uint8], cavity: Mask) -> None:
    _paint(labels, "aorta", (_oval(canvas, trunk, (0.1, 0.36), (0.075, 0.09)) > 0) & cavity)
    _paint(labels, "vena_cava", (_oval(canvas, trunk, (-0.14, 0.3), (0.09, 0.09)) > 0) & cavity)


def _hounsfield(rng: np.random.Generator, labels: NDArray[np.uint8]) -> Field:
    """Densities by label, with vessels and lesions in the liver, marrow, the cortex of kidneys, mottle and noise."""
    level = np.full(len(LABELS) + 1, -1000.0, np.float32)
    for name, number in LABELS.items():
        level[number] = rng.uniform(*_HOUNSFIELD[name])
    level[LABELS["left_kidney"]] = level[LABELS["right_kidney"]]
    if rng.random() < 0.3:
        level[LABELS["spleen"]] = level[LABELS["liver"]] + rng.normal(0, 6)
    image = level[labels]
    canvas = Canvas(rng, labels.shape[0])
    liver, kidneys = labels == LABELS["liver"], np.isin(labels, [LABELS["right_kidney"], LABELS["left_kidney"]])
    image[canvas.spots(int(rng.integers(0, 14)), 0.018, liver)] += rng.uniform(-35, 60)
    image[canvas.spots(int(rng.integers(0, 4)) if rng.random() < 0.4 else 0, 0.07, liver)] += rng.uniform(-60, 30)
    for organ, change in ((kidneys, rng.uniform(-60, 20)), (labels == LABELS["spine"], -rng.uniform(0, 150))):
        core = cv2.erode(organ.astype(np.uint8), np.ones((3, 3)), iterations=int(rng.integers(2, 5))) > 0
        image[core] += change
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2)))
    soft = soft + rng.uniform(0, 12) * smooth_noise(rng, labels.shape, float(rng.uniform(15, 50)))
    noise = cv2.GaussianBlur(rng.standard_normal(labels.shape, dtype=np.float32), (0, 0), float(rng.uniform(0.4, 1.1)))
    return np.asarray(soft + rng.uniform(2, 25) / noise.std() * noise, np.float32)


def _window(rng: np.random.Generator, image: Field, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey picture of densities: mostly an abdominal window, at times a wide one."""
    centre, width = rng.uniform(20, 90), rng.uniform(200, 500)
    if rng.random() < 0.15:
        centre, width = rng.uniform(-100, 200), rng.uniform(700, 2000)
    grey = np.clip((image - centre) / width + 0.5, 0, 1)
    return np.asarray(np.rint(grey * 255), np.uint8)
