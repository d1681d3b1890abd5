"""Anatomy of the fetal-head phantom: a fan of maternal tissue, fluid and placenta with one fetal head in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salip_exp.data._phantoms.head_geometry import (
    NATIVE_SHAPE,
    Array,
    Fan,
    HeadScene,
    ellipse_circumference,
    ellipse_frame,
    ellipse_outline,
    frame_axes,
    in_ellipse,
    scene_scale,
    smooth_noise,
)

_Ellipse = tuple[float, float, float, float, float]
Labels = NDArray[np.uint8]

LABELS: dict[str, int] = {
    "outside": 0,
    "abdominal_wall": 1,
    "muscle": 2,
    "uterine_wall": 3,
    "maternal_tissue": 4,
    "placenta": 5,
    "amniotic_fluid": 6,
    "skull": 7,
    "scalp": 8,
    "brain": 9,
    "brain_echo": 10,
    "falx": 11,
    "ventricle": 12,
    "choroid_plexus": 13,
    "cavum": 14,
    "thalami": 15,
    "cerebellum": 16,
    "head_unseen": 17,
    "body": 18,
    "limb": 19,
    "reflector": 20,
}
"""Meaning of the label map. `outside` is black (beyond the fan, or a blanked text box); `head_unseen` is as black, but
belongs to the head, whose contour is annotated through it."""

_INSIDE = tuple(range(LABELS["skull"], LABELS["head_unseen"] + 1))
PARTS: dict[str, tuple[int, ...]] = {
    "fetal_head": _INSIDE,
    "sector": tuple(v for k, v in LABELS.items() if k not in ("outside", "head_unseen")),
    "skull": (LABELS["skull"],),
    "brain": tuple(v for v in _INSIDE if v not in (LABELS["skull"], LABELS["scalp"], LABELS["head_unseen"])),
    "choroid_plexus": (LABELS["choroid_plexus"],),
    "amniotic_fluid": (LABELS["amniotic_fluid"],),
    "placenta": (LABELS["placenta"],),
    "maternal_tissue": tuple(LABELS[k] for k in ("abdominal_wall", "muscle", "uterine_wall", "maternal_tissue")),
    "body": (LABELS["body"], LABELS["limb"]),
}
"""State numbers of each part a network may be asked for; `fetal_head` is the organ: the filled ellipse."""


_HALF_LENGTHS = {"early": (0.15, 0.28), "middle": (0.25, 0.45), "late": (0.38, 0.58)}
"""Half the head's length in frame heights, by stage. Sonographers zoom in: of 213 real pictures of HC18 one in ten has
a head below 14.5 % of the frame, one in two below 31 %, one in ten above 45 %, and none below 6 or above 54 %."""


def anatomy(rng: np.random.Generator, shape: tuple[int, int] = NATIVE_SHAPE) -> HeadScene:
    """Draw a scene: fan, head, and what lies around it, as a label map of `shape` (rows, columns).

    The same generator state gives the same scene at every shape of one aspect ratio, finer or coarser.
    """
    x, y = frame_axes(shape)
    scale = scene_scale(shape)
    room = (shape[1] / scale / 2, shape[0] / scale)
    stage = str(rng.choice(["early", "middle", "late"], p=[0.1, 0.4, 0.5]))
    fan, head = _draw_view(rng, stage, room)
    labels = _surroundings(rng, stage, head, fan, x, y)
    _add_fetus(rng, stage, head, labels, x, y)
    _add_head(rng, stage, head, labels, x, y)
    seen = fan.contains(x, y) & ~_text_boxes(rng, room, x, y)
    labels[~seen] = np.where(in_ellipse(x, y, head)[~seen], LABELS["head_unseen"], LABELS["outside"])
    cx, cy, a, b, angle = head
    ellipse = (cx * scale + (shape[1] - 1) / 2, cy * scale, a * scale, b * scale, angle)
    circumference = {"early": (50, 115), "middle": (110, 250), "late": (190, 340)}[stage]
    millimetres = float(rng.uniform(*circumference))
    pixel = millimetres / ellipse_circumference(ellipse[2], ellipse[3])
    return HeadScene(labels, ellipse, pixel, millimetres, fan)


def _draw_fan(rng: np.random.Generator, room: tuple[float, float]) -> Fan:
    """Draw a field of view: a whole fan, a fan zoomed until its top is cut, or one that nearly fills the frame."""
    kind = str(rng.choice(["whole", "zoomed", "filling"], p=[0.25, 0.45, 0.30]))
    half = np.deg2rad(float(rng.uniform(*{"whole": (28, 42), "zoomed": (12, 38), "filling": (15, 40)}[kind])))
    top = float(rng.uniform(*{"whole": (-0.04, 0.06), "zoomed": (-0.5, 0.02), "filling": (-0.6, -0.1)}[kind]))
    width = float(rng.uniform(*{"whole": (0.25, 0.7), "zoomed": (0.5, 1.1), "filling": (1.1, 1.8)}[kind]))
    near = width / 2 / np.sin(half)
    middle = float(rng.normal(0, 0.06))
    far = near - top + room[1] * float(rng.choice([rng.uniform(0.88, 1.05), rng.uniform(1.0, 1.4)]))
    lean = float(rng.normal(0, 0.07))
    left, right = (half * float(rng.uniform(0.85, 1.05)) for _ in range(2))
    return Fan((middle, top - near), near, far, lean - left, lean + right)


def _draw_view(rng: np.random.Generator, stage: str, room: tuple[float, float]) -> tuple[Fan, _Ellipse]:
    """Draw the head's size, then fan and head position, again while too much of the head is out of sight."""
    a = float(rng.uniform(*_HALF_LENGTHS[stage]))
    b = a * float(rng.uniform(0.76, 0.99) if stage == "early" else rng.uniform(0.66, 0.90))
    leaving = rng.random() < 0.07
    need = 0.6 if leaving else float(rng.choice([1.0, 0.93, 0.85], p=[0.7, 0.2, 0.1]))
    for _ in range(60):
        fan = _draw_fan(rng, room)
        head = _place_head(rng, stage, a, b, room)
        px, py = ellipse_outline(head, 48)
        framed = bool(np.all((np.abs(px) < room[0]) & (py > 0) & (py < room[1])))
        if np.mean(fan.contains(px, py)) >= need and framed != leaving:
            break
    return fan, head


def _place_head(rng: np.random.Generator, stage: str, a: float, b: float, room: tuple[float, float]) -> _Ellipse:
    """Draw where a head with semi-axes a and b lies and how it is turned: mostly near level."""
    spread = {"early": (0.6, 0.62), "middle": (0.32, 0.4), "late": (0.2, 0.25)}[stage]
    cx = room[0] * spread[0] * float(rng.uniform(-1, 1))
    cy = room[1] * (0.52 + spread[1] * float(rng.uniform(-0.5, 0.5)))
    near_level = rng.random() < (0.5 if stage == "early" else 0.85)
    angle = float(rng.normal(0, 0.2)) if near_level else float(rng.uniform(-np.pi / 2, np.pi / 2))
    return cx, cy, a, b, angle


def _surroundings(rng: np.random.Generator, stage: str, head: _Ellipse, fan: Fan, x: Array, y: Array) -> Labels:
    """Maternal layers, uterus, fluid and placenta: labels (H, W) without the fetus."""
    shape = (y.shape[0], x.shape[1])
    coarse, fine = smooth_noise(rng, (4, 6), shape), smooth_noise(rng, (10, 14), shape)
    labels = np.full(shape, LABELS["maternal_tissue"], dtype=np.uint8)
    labels[smooth_noise(rng, (4, 5), shape) + 0.3 * fine > rng.uniform(-0.5, 1.5)] = LABELS["uterine_wall"]
    if rng.random() < 0.35:
        labels[smooth_noise(rng, (4, 5), shape) > rng.uniform(0.3, 1.6)] = LABELS["amniotic_fluid"]
    if stage == "early" or rng.random() < 0.75:
        labels[_sac(rng, stage, head, x, y, coarse, fine)] = LABELS["amniotic_fluid"]
    if rng.random() < 0.55:
        turn = float(rng.uniform(0, 2 * np.pi))
        side = (x - head[0]) * np.cos(turn) + (y - head[1]) * np.sin(turn)
        labels[side + 0.07 * coarse + 0.015 * fine > head[3] * rng.uniform(0.7, 1.8)] = LABELS["placenta"]
    depth = fan.polar(x, y)[0] - max(fan.near, -fan.apex[1]) + rng.uniform(0.01, 0.05) * coarse
    depth += 0.008 * fine
    edge = float(rng.uniform(0, 0.3))
    for name in ("uterine_wall", "muscle", "abdominal_wall"):
        labels[depth < edge] = LABELS[name]
        edge -= float(rng.uniform(0.02, 0.12))
    return labels


def _sac(
    rng: np.random.Generator, stage: str, head: _Ellipse, x: Array, y: Array, coarse: Array, fine: Array
) -> NDArray[np.bool_]:
    """Fluid around the head: a rough, shifted, larger ellipse, which may leave parts of the head against the wall."""
    cx, cy, a, b, angle = head
    grow = rng.uniform(1.0, 2.4, 2) if stage == "early" else rng.uniform(0.95, 1.5, 2)
    shift = rng.uniform(-0.8, 0.8, 2) * (grow - 0.7) * (a, b)
    turn = angle + float(rng.normal(0, 0.4))
    wide = (cx + float(shift[0]), cy + float(shift[1]), a * float(grow[0]), b * float(grow[1]), turn)
    u, v = ellipse_frame(x, y, wide)
    inside = np.sqrt(u * u + v * v) + 0.12 * coarse + 0.03 * fine < 1
    return np.asarray(inside, dtype=np.bool_)


def _add_fetus(rng: np.random.Generator, stage: str, head: _Ellipse, labels: Labels, x: Array, y: Array) -> None:
    """Add neck and trunk at one end of the head, limbs, and bright interfaces, outside the head."""
    cx, cy, a, b, angle = head
    if rng.random() < (0.65 if stage == "early" else 0.45):
        end = angle + (0 if rng.random() < 0.5 else np.pi) + float(rng.normal(0, 0.4))
        length = b * float(rng.uniform(0.5, 1.5))
        far = a * 0.9 + length * float(rng.uniform(0.6, 0.95))
        trunk = (cx + far * np.cos(end), cy + far * np.sin(end), length, b * float(rng.uniform(0.4, 0.95)), end)
        labels[in_ellipse(x, y, trunk)] = LABELS["body"]
        along, over = ellipse_frame(x, y, trunk)
        ribs = np.sin(along * rng.uniform(6, 16) + over * rng.uniform(-3, 3)) > rng.uniform(0.9, 1.0)
        labels[ribs & (np.abs(over) > rng.uniform(0, 0.6)) & in_ellipse(x, y, trunk)] = LABELS["reflector"]
    for _ in range(int(rng.integers(0, 4))):
        limb = _beside(rng, head, (0.03, 0.09), (0.3, 0.9))
        labels[in_ellipse(x, y, limb)] = LABELS["limb"]
        labels[in_ellipse(x, y, (*limb[:2], limb[2] * 0.8, limb[3] * 0.25, limb[4]))] = LABELS["reflector"]
    for _ in range(int(rng.integers(0, 6))):
        labels[in_ellipse(x, y, _beside(rng, head, (0.02, 0.12), (0.04, 0.2)))] = LABELS["reflector"]


def _beside(
    rng: np.random.Generator, head: _Ellipse, size: tuple[float, float], ratio: tuple[float, float]
) -> _Ellipse:
    """A small ellipse somewhere beside the head."""
    t, out = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(1.05, 1.7))
    cx = head[0] + head[2] * out * np.cos(t)
    cy = head[1] + head[2] * out * np.sin(t)
    a = float(rng.uniform(*size))
    return float(cx), float(cy), a, a * float(rng.uniform(*ratio)), float(rng.normal(0, 0.6))


def _add_head(rng: np.random.Generator, stage: str, head: _Ellipse, labels: Labels, x: Array, y: Array) -> None:
    """Fill the head's ellipse: scalp where the skull leaves the ellipse, skull, and brain with its structures."""
    u, v = ellipse_frame(x, y, head)
    rho, phi = np.sqrt(u * u + v * v), np.arctan2(v, u)
    inside = rho <= 1
    labels[inside] = LABELS["scalp"]
    bulge = sum(rng.uniform(0, 0.018) * (1 + np.cos(k * phi + rng.uniform(0, 2 * np.pi))) / 2 for k in (2, 3, 4, 5))
    outer = rho + bulge
    labels[outer <= 1] = LABELS["skull"]
    thick = min(float(rng.uniform(0.009, 0.026)) / head[3], float(rng.uniform(0.07, 0.15)))
    uneven = 1 + sum(rng.uniform(0, 0.22) * np.cos(k * phi + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3, 6))
    brain = outer <= 1 - thick * uneven
    flip = rng.choice([-1.0, 1.0], 2)
    labels[brain] = LABELS["brain"]
    _add_brain(rng, stage, labels, brain, u * flip[0], v * flip[1])


def _add_brain(
    rng: np.random.Generator, stage: str, labels: Labels, brain: NDArray[np.bool_], u: Array, v: Array
) -> None:
    """Draw what the brain holds, in head coordinates (u forwards, v away from the midline)."""
    bend = smooth_noise(rng, (6, 8), labels.shape)
    ripple = smooth_noise(rng, (14, 20), labels.shape)
    u, v = u + 0.03 * bend, v + 0.02 * ripple

    def put(name: str, cu: float, cv: float, a: float, b: float, turn: float = 0.0) -> None:
        wobble = rng.uniform(0.8, 1.25, 2)
        shape = (cu + rng.normal(0, 0.03), cv + rng.normal(0, 0.03), a * wobble[0], b * wobble[1], turn)
        labels[in_ellipse(u, v, shape) & brain] = LABELS[name]

    if rng.random() < 0.6:
        labels[(np.abs(bend + ripple) < rng.uniform(0.05, 0.2)) & brain] = LABELS["brain_echo"]
    if rng.random() < 0.6:
        put("thalami", 0.02, 0.16, 0.22, 0.14, 0.3)
        put("thalami", 0.02, -0.16, 0.22, 0.14, -0.3)
    wide = float(rng.uniform(1.2, 2.0)) if stage == "early" else float(rng.uniform(0.6, 1.2))
    for side in (1.0, -1.0):
        if rng.random() < (0.9 if stage == "early" else 0.65):
            put("brain_echo", -0.25, side * 0.40, 0.46, 0.19 * wide, side * -0.2)
            put("ventricle", -0.25, side * 0.40, 0.43, 0.16 * wide, side * -0.2)
        if rng.random() < 0.6:
            put("choroid_plexus", -0.34, side * 0.42, 0.17 * wide, 0.11 * wide, side * -0.2)
        if rng.random() < 0.4:
            put("brain_echo", 0.15, side * 0.68, 0.3, 0.03, side * 0.3)
    if stage != "early" and rng.random() < 0.35:
        put("cerebellum", -0.66, 0.2, 0.16, 0.22)
        put("cerebellum", -0.66, -0.2, 0.16, 0.22)
    _add_midline(rng, labels, brain, u, v, bend + ripple)


def _add_midline(
    rng: np.random.Generator, labels: Labels, brain: NDArray[np.bool_], u: Array, v: Array, noise: Array
) -> None:
    """Draw the falx, whole, dashed or partly gone, and the cavum's box that interrupts it in front."""
    start, stop = float(rng.uniform(-1, -0.4)), float(rng.uniform(0.3, 1))
    half = float(rng.uniform(0.012, 0.03))
    dashes = noise > float(rng.choice([-9.0, -1.0, 0.0]))
    labels[(np.abs(v) < half) & (u > start) & (u < stop) & dashes & brain] = LABELS["falx"]
    if rng.random() < 0.55:
        centre, wide = float(rng.uniform(0.35, 0.55)), float(rng.uniform(0.05, 0.09))
        box = (np.abs(u - centre) < rng.uniform(0.08, 0.16)) & brain
        labels[box & (np.abs(v) < wide + half)] = LABELS["falx"]
        labels[box & (np.abs(v) < wide)] = LABELS["cavum"]


def _text_boxes(rng: np.random.Generator, room: tuple[float, float], x: Array, y: Array) -> NDArray[np.bool_]:
    """Where burnt-in text was blanked: rectangles in the frame's corners, (H, W)."""
    blank = np.zeros((y.shape[0], x.shape[1]), dtype=np.bool_)
    if rng.random() < 0.75:
        wide, high = float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.04, 0.26))
        blank |= (x > room[0] - wide) & (y > room[1] - high)
    if rng.random() < 0.4:
        blank |= (x > room[0] - float(rng.uniform(0.05, 0.25))) & (y < float(rng.uniform(0.05, 0.2)))
    if rng.random() < 0.25:
        blank |= (x < -room[0] + float(rng.uniform(0.03, 0.15))) & (y < float(rng.uniform(0.02, 0.1)))
    return blank
