"""Training scenes: pictures of phantoms with the regions that stand in them, drawn once into a bank, varied for ever.

A bank is one `.npz` file per kind (brain, head, chest, abdomen, heart) with uint8 pictures and uint8 label maps; it
makes an endless, indexable sequence of training scenes of it: scene `i` of a seed is always the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.data._phantoms import brain, brain_anatomy, chest, head_anatomy
from salip_exp.data._phantoms import head as head_render
from tools.embedded import abdomen, heart, randomise
from tools.embedded.film import obscured, open_sides

SIDE = 256
SMALLEST_REGION = 48
"""Pixels; regions below it cannot be seen in a 64 x 64 mask."""


@dataclass(frozen=True)
class Region:
    """One thing that a point may mean: its mask (H, W), what it is, and whether it is the organ of its picture."""

    mask: NDArray[np.bool_]
    name: str
    organ: bool


@dataclass(frozen=True)
class Scene:
    """A training picture: uint8 (H, W) with H, W <= 256, its kind, and its regions."""

    picture: NDArray[np.uint8]
    kind: str
    regions: list[Region]


@dataclass(frozen=True)
class Kind:
    """A kind of phantom: its named parts, and which of them are the organ."""

    parts: dict[str, tuple[int, ...]]
    organs: tuple[str, ...]


KINDS = {
    "brain": Kind(brain_anatomy.PARTS, ("brain",)),
    "head": Kind(head_anatomy.PARTS, ("fetal_head",)),
    "chest": Kind(chest.PARTS, ("right_lung", "left_lung")),
    "abdomen": Kind(abdomen.PARTS, ("liver", "spleen", "right_kidney", "left_kidney")),
    "heart": Kind(heart.PARTS, ("left_ventricle",)),
}
SHARES = {"brain": 0.27, "head": 0.38, "chest": 0.28, "abdomen": 0.3, "heart": 0.2, "noise": 0.07}
"""How often each kind is drawn beside others; `noise` are label maps of smoothed noise. Heads are the hardest: small
and faint. Kinds that a bank does not hold are never drawn of it."""
OBSCURED_FILMS = 0.4
"""Share of chests in which lungs are veiled or white, or lines and devices lie on the film."""
OPEN_SIDES = 0.5
"""Share of chests with air beside the trunk."""
PLAIN = 0.4
"""Share of phantom scenes as a scanner shows them, hardly deformed and not spoilt: most real pictures are like that."""

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _brain_pairs(seed: int, index: int) -> list[Pair]:
    """Slices in all three planes of one phantom volume: pictures and labels (the mask's sulci relabelled as brain)."""
    rng = np.random.default_rng([seed, 1, index])
    profiles = list(brain.PROFILES.values())
    profile = profiles[index % len(profiles)]
    voxel = float(rng.uniform(1.5, 1.9))
    labels = brain_anatomy.anatomy(rng, voxel)
    volume = brain.render(labels, profile, rng, voxel).astype(np.float32)
    mask = brain.brain_mask(labels, voxel)
    missed = mask & ~np.isin(labels, KINDS["brain"].parts["brain"])
    labels = np.where(missed, brain_anatomy.LABELS["sulcal_csf"], labels)
    low, high = np.percentile(volume[volume > 0], [0.5, 99.5])
    volume = np.clip((volume - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    pairs = []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(12 / voxel)
        for position in rng.integers(inside[0] + margin, inside[-1] - margin, 7):
            picture, parts = (np.rot90(v.take(position, axis)) for v in (volume, labels.astype(np.uint8)))
            pairs.append((_fit(picture, cv2.INTER_LINEAR), _fit(parts, cv2.INTER_NEAREST)))
    return pairs


def _fit(image: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    """The longer side to 224, zeros to a square: one array shape for slices of all planes."""
    scale = 224 / max(image.shape)
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=interpolation)
    return np.pad(small, ((0, 224 - small.shape[0]), (0, 224 - small.shape[1]))).astype(np.uint8)


def _head_pairs(seed: int, index: int) -> list[Pair]:
    rng = np.random.default_rng([seed, 2, index])
    scene = head_anatomy.anatomy(rng, (173, 256))
    return [(head_render.render(scene, rng), scene.labels)]


def _chest_pairs(seed: int, index: int) -> list[Pair]:
    rng = np.random.default_rng([seed, 3, index])
    scene = chest.anatomy(rng, (SIDE, SIDE))
    if rng.random() < OPEN_SIDES:
        scene = open_sides(rng, scene)
    return [(chest.render(scene, rng), scene.labels)]


def _abdomen_pairs(seed: int, index: int) -> list[Pair]:
    return [abdomen.abdomen(np.random.default_rng([seed, 8, index]), SIDE)]


def _heart_pairs(seed: int, index: int) -> list[Pair]:
    return [heart.heart(np.random.default_rng([seed, 9, index]), SIDE)]


MAKERS: dict[str, Callable[[int, int], list[Pair]]] = {
    "brain": _brain_pairs,
    "head": _head_pairs,
    "chest": _chest_pairs,
    "abdomen": _abdomen_pairs,
    "heart": _heart_pairs,
}


def make_bank(folder: Path, counts: dict[str, int], seed: int, processes: int) -> None:
    """Draw the phantoms that are not there yet: `folder/<kind>.npz`, each written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, count in counts.items():
        path = folder / f"{kind}-{count}-{seed}.npz"
        if path.exists():
            continue
        with ProcessPoolExecutor(processes) as pool:
            pairs = [p for some in pool.map(partial(MAKERS[kind], seed), range(count), chunksize=4) for p in some]
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, pictures=np.stack([p for p, _ in pairs]), labels=np.stack([q for _, q in pairs]))
        os.replace(temporary, path)


class Bank:
    """The drawn phantoms of a folder, in memory, and the scenes made of them."""

    def __init__(self, folder: Path, counts: dict[str, int], seed: int) -> None:
        self.seed = seed
        self.pairs: dict[str, Pair] = {}
        for kind, count in counts.items():
            with np.load(folder / f"{kind}-{count}-{seed}.npz") as file:
                self.pairs[kind] = (file["pictures"], file["labels"])
        self._shares = {kind: share for kind, share in SHARES.items() if kind in counts or kind == "noise"}

    def scene(self, index: int) -> Scene:
        """Training scene number `index`."""
        rng = np.random.default_rng([self.seed, 4, index])
        chances = np.array(list(self._shares.values()))
        kind = str(rng.choice(list(self._shares), p=chances / chances.sum()))
        shape = _canvas(rng, kind)
        plain = kind != "noise" and rng.random() < PLAIN
        if kind == "noise":
            labels = randomise.noise_labels(rng, shape)
            picture = randomise.outline(rng, randomise.paint(rng, labels), labels)
            regions = list(_components({str(n): (n,) for n in np.unique(labels)}, labels, ()))
        else:
            picture, labels = self._phantom(rng, kind, shape, plain)
            spec = KINDS[kind]
            regions = list(_components({**spec.parts, "outside": (0,)}, labels, spec.organs))
        if not plain:
            picture = randomise.augment(rng, picture)
        elif rng.random() < 0.5:
            picture = randomise.gamma(rng, picture)
        return Scene((picture * 255).astype(np.uint8), kind, regions)

    def _phantom(
        self, rng: np.random.Generator, kind: str, shape: tuple[int, int], plain: bool
    ) -> tuple[randomise.Image, NDArray[np.uint8]]:
        """A phantom, deformed; its own picture, one painted anew from its labels, or a mixture of the two.

        A plain one is hardly deformed and keeps its own picture.
        """
        pictures, all_labels = self.pairs[kind]
        pick = int(rng.integers(len(pictures)))
        strength = 0.4 if plain else float(rng.choice([0.4, 1.0, 1.6]))
        drawn = pictures[pick].astype(np.float32) / 255
        picture, labels = randomise.warp(rng, drawn, all_labels[pick], shape, strength)
        share = 0.0 if plain else rng.choice([0.0, 1.0, rng.uniform(0.1, 0.6)], p=[0.68, 0.08, 0.24])
        if share > 0:
            painted = randomise.paint(rng, labels)
            if rng.random() < 0.4:
                painted = randomise.outline(rng, painted, labels)
            picture = (1 - share) * picture + share * painted
        if kind == "chest" and rng.random() < OBSCURED_FILMS:
            picture = obscured(rng, picture, labels)
        return picture.astype(np.float32), labels


def _canvas(rng: np.random.Generator, kind: str) -> tuple[int, int]:
    """Size of the picture: longest side 256, the kind's usual aspect ratio or another."""
    usual = 0.675 if kind == "head" else 1.0
    aspect = rng.choice([usual, 1.0, float(np.exp(rng.normal(0, 0.2))) * usual], p=[0.5, 0.25, 0.25])
    aspect = float(np.clip(aspect, 0.5, 2.0))
    return (round(SIDE * aspect), SIDE) if aspect <= 1 else (SIDE, round(SIDE / aspect))


def _components(
    parts: dict[str, tuple[int, ...]], labels: NDArray[np.uint8], organs: tuple[str, ...]
) -> Iterator[Region]:
    """Connected components of every part; an organ stays whole, however many pieces the slice shows of it."""
    for name, numbers in parts.items():
        lookup = np.zeros(256, np.uint8)
        lookup[list(numbers)] = 1
        mask = np.asarray(cv2.LUT(labels, lookup), np.uint8)
        if name in organs:
            if np.count_nonzero(mask) >= SMALLEST_REGION:
                yield Region(mask.astype(bool), name, organ=True)
            continue
        left, top, width, height = cv2.boundingRect(mask)
        if width * height < SMALLEST_REGION:
            continue
        window = (slice(top, top + height), slice(left, left + width))
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask[window], connectivity=8)
        order = np.argsort(stats[1:, cv2.CC_STAT_AREA])[::-1][:3] + 1
        for piece in order:
            if stats[piece, cv2.CC_STAT_AREA] >= SMALLEST_REGION:
                region = np.zeros(labels.shape, bool)
                region[window] = pieces == piece
                yield Region(region, name, organ=False)
