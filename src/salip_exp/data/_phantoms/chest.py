"""Chest x-ray phantoms: a random patient, the film taken of it, and a data set of them in the native layout.

The film is the sum of what the rays cross (soft tissue, bone, air taken away), put through a random exposure and tone
curve. Every number comes from one seeded generator and stays float64 to the final rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salip_exp._files import png, write_bytes
from salip_exp.data._phantoms.chest_anatomy import (
    Bools,
    Floats,
    Frame,
    Rng,
    Side,
    chance,
    draw_arms,
    draw_frame,
    draw_heart,
    draw_side,
    draw_torso,
    largest_component,
    ramp,
)
from salip_exp.data._phantoms.chest_layers import (
    collimate,
    draw_airway,
    draw_breasts,
    draw_clavicles,
    draw_gas,
    draw_hila,
    draw_ribs,
    draw_scapulae,
    draw_spine,
    draw_vessels,
    expose,
)

LABELS: dict[str, int] = {
    "soft_tissue": 1,
    "right_lung": 2,
    "left_lung": 3,
    "heart": 4,
    "mediastinum": 5,
    "spine": 6,
    "abdomen": 7,
    "gastric_bubble": 8,
    "arms": 9,
}
PARTS: dict[str, tuple[int, ...]] = {
    "lungs": (2, 3),
    "right_lung": (2,),
    "left_lung": (3,),
    "heart": (4,),
    "spine": (6,),
    "mediastinum": (4, 5, 6),
    "thorax": (2, 3, 4, 5, 6),
    "abdomen": (7, 8),
    "arms": (9,),
    "body": (1, 2, 3, 4, 5, 6, 7, 8, 9),
}
_COVERAGE = (0.12, 0.45)


@dataclass(frozen=True)
class ChestScene:
    """A patient in front of the film.

    Attributes:
        labels: uint8 (H, W), 0 for air or unexposed film, else a value of `LABELS`.
        layers: float64 (H, W) projected thickness by name (`flesh`, `air`, `heart`, `ribs`, `clavicles`, ...).
        frame: bool (H, W), True where the collimator let the rays through.
    """

    labels: NDArray[np.uint8]
    layers: dict[str, Floats]
    frame: Bools


@dataclass(frozen=True)
class _Chest:
    """The borders of one candidate patient, before anything is painted."""

    frame: Frame
    sides: tuple[Side, Side]
    lungs: tuple[Bools, Bools]
    heart: Floats
    level: float


def anatomy(rng: Rng, shape: tuple[int, int] = (512, 512)) -> ChestScene:
    """Draw a patient: two lung fields, each connected and together 12-45 % of the picture, and all around them.

    The lung fields follow the Montgomery and Shenzhen masks: without the heart and without the lung that lies behind
    the diaphragm. The patient's right lung is on the left of the picture.
    """
    chest = _draw_chest(rng, shape)
    while not _plausible(chest):
        chest = _draw_chest(rng, shape)
    torso, shoulder, joint = draw_torso(rng, chest.frame)
    arms, arm_bones = draw_arms(rng, chest.frame, shoulder, joint)
    spine, off_spine = draw_spine(rng, chest.frame)
    gas = draw_gas(rng, chest.frame, chest.level) * _below(chest)
    seen = collimate(chest.lungs[0] | chest.lungs[1], rng)
    labels = _paint(chest, torso, arms, off_spine, gas)
    labels[~seen] = 0
    layers = _layers(rng, chest, torso, arms)
    return ChestScene(labels, layers | {"spine": spine, "arm_bones": ramp(arm_bones / 0.03), "gas": gas}, seen)


def _draw_chest(rng: Rng, shape: tuple[int, int]) -> _Chest:
    frame = draw_frame(rng, shape)
    child = chance(rng, 0.12)
    level = 0.9 - abs(float(rng.normal(0.0, 0.06)))
    lower = float(rng.normal(0.03, 0.035)) - (float(rng.uniform(0.1, 0.25)) if chance(rng, 0.08) else 0.0)
    higher = float(rng.uniform(0.1, 0.25)) if chance(rng, 0.08) else 0.0
    sides = (draw_side(rng, frame, -1, level - higher, child), draw_side(rng, frame, 1, level + lower, child))
    heart = draw_heart(rng, frame, level, child)
    lungs = [largest_component((s.a > s.inner) & (s.a < s.outer) & (frame.v < s.floor) & (heart > 1.0)) for s in sides]
    return _Chest(frame, sides, (lungs[0], lungs[1]), heart, level + max(lower, 0.0))


def _plausible(chest: _Chest) -> bool:
    """Both lungs in view and of a size, and little of them cut off by the picture's edge."""
    shares = [float(np.count_nonzero(lung)) / lung.size for lung in chest.lungs]
    if not _COVERAGE[0] < sum(shares) < _COVERAGE[1] or min(shares) < 0.3 * max(shares):
        return False
    both = chest.lungs[0] | chest.lungs[1]
    cut = [int(np.count_nonzero(edge)) for edge in (both[0], both[-1], both[:, 0], both[:, -1])]
    return bool(max(cut) < 0.12 * min(both.shape))


def _below(chest: _Chest) -> Bools:
    """Under the diaphragm, which meets in the middle."""
    right, left = chest.sides
    share = ramp((chest.frame.u + 0.3) / 0.6)
    below: Bools = chest.frame.v > right.floor * (1.0 - share) + left.floor * share
    return below


def _beside(chest: _Chest) -> Floats:
    """Distance from the midline in units of the rib cage: beyond 1 lies the chest wall."""
    right, left = chest.sides
    return np.maximum(right.a / right.cage, left.a / left.cage)


def _paint(chest: _Chest, torso: Floats, arms: Floats, off_spine: Floats, gas: Floats) -> NDArray[np.uint8]:
    """Region map; what is nearer to the question (lungs, heart) is painted later."""
    right, left = chest.sides
    below = _below(chest)
    border = np.minimum(np.where(chest.frame.u < 0, right.inner, left.inner), 0.6)
    between = (np.abs(chest.frame.u) < border) & ~below & (chest.frame.v > 0.0) & (torso > 0)
    heart = (chest.heart <= 1.0) & ~below & (torso > 0)
    labels = np.zeros(torso.shape, np.uint8)
    labels[arms > 0] = LABELS["arms"]
    labels[torso > 0] = LABELS["soft_tissue"]
    labels[below & (torso > 0) & (_beside(chest) < np.maximum(chest.frame.v + 0.03, 1.03))] = LABELS["abdomen"]
    labels[gas > 0.5] = LABELS["gastric_bubble"]
    labels[between] = LABELS["mediastinum"]
    labels[between & (off_spine < 1.0)] = LABELS["spine"]
    labels[heart] = LABELS["heart"]
    labels[chest.lungs[0]] = LABELS["right_lung"]
    labels[chest.lungs[1]] = LABELS["left_lung"]
    return labels


def _air(chest: _Chest) -> Floats:
    """Depth of air the rays cross: full in mid-lung, less towards wall, apex and mediastinum, a trace behind heart."""
    air = np.zeros(chest.frame.u.shape)
    for side, lung in zip(chest.sides, chest.lungs, strict=True):
        wall = 1.0 - (1.0 - np.clip((side.outer - side.a) / 0.45, 0.0, 1.0)) ** 2
        root = 0.7 + 0.3 * ramp((side.a - side.inner) / 0.2)
        crown = 0.6 + 0.4 * ramp(chest.frame.v / 0.35)
        air += lung * (0.35 + 0.65 * np.sqrt(wall)) * root * crown
        behind = ramp((side.a - 0.1) / 0.2) * (side.a < side.outer) * ~lung * wall
        span = ramp((chest.frame.v - 0.3) / 0.3) * ramp((side.floor + 0.18 - chest.frame.v) / 0.18)
        air += 0.15 * behind * span
    return air


def _layers(rng: Rng, chest: _Chest, torso: Floats, arms: Floats) -> dict[str, Floats]:
    frame, lungs = chest.frame, chest.lungs[0] | chest.lungs[1]
    below, beside = _below(chest), _beside(chest)
    bulk = np.interp(frame.v, [-0.5, -0.15, 0.2, 0.9, 1.2], [0.6, 0.7, 1.0, 1.0, 1.1])
    rim = float(rng.uniform(0.15, 0.5))
    trunk = np.sqrt(1.0 - (1.0 - np.clip(torso / rim, 0.0, 1.0)) ** 2) * bulk
    limbs = np.sqrt(np.clip(arms / 0.25, 0.0, 1.0)) * 0.5
    return {
        "flesh": np.maximum(trunk, limbs),
        "air": _air(chest),
        "heart": np.maximum(1.0 - chest.heart, 0.0) * ~below,
        "abdomen": below * ramp(torso / 0.3) * np.maximum(ramp((1.05 - beside) / 0.12), ramp((frame.v - 1.1) / 0.4)),
        "ribs": draw_ribs(rng, frame, chest.sides) * (torso > 0) * (1.0 - 0.4 * (chest.heart < 1.0)),
        "clavicles": draw_clavicles(rng, frame),
        "scapulae": draw_scapulae(rng, frame) * ((torso > 0) | (arms > 0)),
        "airway": draw_airway(rng, frame) * (torso > 0),
        "vessels": draw_vessels(rng, frame, lungs),
        "hila": draw_hila(rng, frame),
        "breasts": draw_breasts(rng, frame) * (torso > 0),
        "lungs": lungs.astype(np.float64),
    }


def render(scene: ChestScene, rng: Rng) -> NDArray[np.uint8]:
    """Take the film of a scene: uint8 (H, W), lungs dark, every call a new exposure, tone, grain and disease."""
    return expose(scene.labels, scene.layers, scene.frame, rng)


def write_xray(root: Path, n: int, seed: int) -> None:
    """Write `n` films with masks, and one without, below `root/Lung Segmentation` in the native layout.

    Shenzhen names (`CHNCXR_0001_0.png`, mask `CHNCXR_0001_0_mask.png`) and Montgomery names (`MCUCXR_0001_0.png`,
    mask of the same name) alternate; a name ends in 1 where the film shows disease. Masks hold 0 and 255. Image `i`
    depends on `(seed, i)` alone.
    """
    images, masks = root / "Lung Segmentation" / "CXR_png", root / "Lung Segmentation" / "masks"
    for index in range(n + 1):
        rng = np.random.default_rng([seed, index])
        scene = anatomy(rng)
        sick = int(rng.random() < 0.5)
        film = expose(scene.labels, scene.layers, scene.frame, rng, sick=bool(sick))
        source, suffix = ("CHNCXR", "_mask") if index % 2 == 0 else ("MCUCXR", "")
        name = f"{source}_{index + 1:04d}_{sick}"
        write_bytes(images / f"{name}.png", png(film))
        if index < n:
            mask = np.isin(scene.labels, PARTS["lungs"]).astype(np.uint8) * 255
            write_bytes(masks / f"{name}{suffix}.png", png(mask))
