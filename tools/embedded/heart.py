"""Cardiac MR slices across the short axis: the left ventricle's ring in a chest, drawn for training alone.

What counts as the heart there is the left ventricle, cavity and wall, as the sets that measure its volume draw it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.embedded.randomise import smooth_noise
from tools.embedded.shapes import Canvas, Field, Mask

_NAMES = "fat muscle lung liver stomach spine aorta heart_fat right_ventricle right_wall wall cavity"
LABELS = {name: number for number, name in enumerate(_NAMES.split(), 1)}
PARTS: dict[str, tuple[int, ...]] = {
    "left_ventricle": (LABELS["wall"], LABELS["cavity"]),
    "cavity": (LABELS["cavity"],),
    "right_ventricle": (LABELS["right_ventricle"],),
    "both_ventricles": tuple(LABELS[name] for name in ("wall", "cavity", "right_ventricle", "right_wall")),
    "heart_and_fat": tuple(LABELS[n] for n in ("wall", "cavity", "right_ventricle", "right_wall", "heart_fat")),
    **{name: (LABELS[name],) for name in ("lung", "liver", "stomach", "spine", "aorta", "fat")},
    "trunk": tuple(LABELS.values()),
}
_GREY = {
    "fat": (0.55, 1.0), "muscle": (0.15, 0.4), "lung": (0.0, 0.14), "liver": (0.2, 0.5), "stomach": (0.1, 0.8),
    "spine": (0.2, 0.55), "aorta": (0.5, 1.0), "heart_fat": (0.4, 1.0), "right_wall": (0.15, 0.4),
}  # fmt: skip


def heart(rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A slice: picture and labels, both uint8 (side, side)."""
    canvas, labels = Canvas(rng, side), np.zeros((side, side), np.uint8)
    zoom = float(np.exp(rng.uniform(np.log(0.9), np.log(2.2))))
    at = (float(rng.normal(0, 0.12)), float(rng.normal(0, 0.12)))
    _chest(canvas, labels, zoom, at)
    _ventricles(canvas, labels, zoom * float(rng.uniform(0.8, 1.2)), at)
    return _picture(rng, labels), labels


def _paint(labels: NDArray[np.uint8], name: str, where: Mask) -> None:
    labels[where] = LABELS[name]


def _chest(canvas: Canvas, labels: NDArray[np.uint8], zoom: float, at: tuple[float, float]) -> None:
    """Trunk around the heart at `at`: wall, lungs, spine, and liver with stomach below in some."""
    rng = canvas.rng
    middle = (at[0] - 0.18 * zoom, at[1] + 0.12 * zoom)
    across, deep = canvas.near(0.75, 0.12) * zoom, canvas.near(0.55, 0.12) * zoom
    turn, fat = float(rng.normal(0, 0.2)), float(rng.uniform(0.02, 0.1)) * zoom
    for name, less in (("fat", 0.0), ("muscle", fat), ("lung", fat + canvas.near(0.06, 0.5) * zoom)):
        _paint(labels, name, canvas.oval(middle, (across - less, deep - less), turn, 0.03) > 0)
    inner = labels == LABELS["lung"]
    _paint(labels, "muscle", (np.abs(canvas.x - middle[0]) < 0.14 * zoom) & inner & (rng.random() < 0.8))
    spine = (middle[0] + rng.normal(0, 0.03), middle[1] + 0.75 * deep)
    _paint(labels, "spine", canvas.oval(spine, (0.1 * zoom, 0.1 * zoom)) > 0)
    _paint(labels, "aorta", canvas.oval((spine[0] + 0.12 * zoom, spine[1] - 0.08 * zoom), (0.04 * zoom,) * 2) > 0)
    if rng.random() < 0.7:
        below = canvas.oval((at[0] - 0.35 * zoom, at[1] + 0.3 * zoom), (0.42 * zoom, 0.24 * zoom), 0.3, 0.1) > 0
        _paint(labels, "liver", below & inner)
    if rng.random() < 0.5:
        sack = canvas.oval((at[0] + 0.15 * zoom, at[1] + 0.38 * zoom), (0.2 * zoom, 0.14 * zoom), 0, 0.1) > 0
        _paint(labels, "stomach", sack & inner)


def _ventricles(canvas: Canvas, labels: NDArray[np.uint8], zoom: float, at: tuple[float, float]) -> None:
    """Fat, the right ventricle's crescent, and the left one's ring; towards the apex both are small."""
    rng = canvas.rng
    radius = float(rng.uniform(0.1, 0.2)) * zoom
    wall = radius * float(rng.uniform(0.2, 0.5))
    stretch, turn = float(rng.uniform(0.85, 1.15)), float(rng.uniform(0, np.pi))
    side = float(rng.normal(np.pi, 0.45))  # where the right ventricle lies
    reach = radius * float(rng.uniform(0.75, 1.5))
    beside = (at[0] + float(np.cos(side)) * reach, at[1] + float(np.sin(side)) * reach)
    right = canvas.oval(beside, (radius * rng.uniform(0.6, 1.1), radius * rng.uniform(0.9, 1.5)), side, 0.1)
    whole = canvas.oval(at, (radius * stretch, radius / stretch), turn, 0.05)
    fat = float(rng.uniform(0.0, 0.35))
    _paint(labels, "heart_fat", np.maximum(right, whole) > -fat)
    if rng.random() < 0.9:
        _paint(labels, "right_wall", right > -0.08)
        _paint(labels, "right_ventricle", right > 0)
    _paint(labels, "wall", whole > 0)
    _paint(labels, "cavity", whole > wall / radius)


def _picture(rng: np.random.Generator, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bright blood, dark muscle, papillary muscles in the cavity, mottle and noise, mostly brighter near the coil."""
    blood, muscle = float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.08, 0.42))
    level = np.full(len(LABELS) + 1, rng.uniform(0, 0.05), np.float32)
    for name, (low, high) in _GREY.items():
        level[LABELS[name]] = rng.uniform(low, high)
    level[LABELS["cavity"]] = blood
    level[LABELS["right_ventricle"]] = blood * rng.uniform(0.85, 1.1)
    level[LABELS["wall"]] = muscle
    image, canvas = level[labels], Canvas(rng, labels.shape[0])
    cavity = labels == LABELS["cavity"]
    image[canvas.spots(int(rng.integers(0, 5)), 0.025, cavity)] = muscle
    image[canvas.spots(int(rng.integers(0, 30)), 0.012, labels == LABELS["lung"])] += rng.uniform(0, 0.5)
    soft = cv2.GaussianBlur(np.asarray(image, np.float32), (0, 0), float(rng.uniform(0.6, 1.8)))
    soft = soft * (1 + rng.uniform(0, 0.12) * smooth_noise(rng, labels.shape, float(rng.uniform(10, 30))))
    soft = soft * np.exp(rng.uniform(0, 0.35) * smooth_noise(rng, labels.shape, 2))
    soft = soft + rng.uniform(0.01, 0.05) * rng.standard_normal(labels.shape, dtype=np.float32)
    scale: Field = np.asarray(soft / np.percentile(soft, rng.uniform(95, 99.8)), np.float32)
    return np.asarray(np.rint(np.clip(scale, 0, 1) * 255), np.uint8)
