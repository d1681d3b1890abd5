"""A bank of views for CLIP: training scenes segmented once by the trained SAM, and shown again and again.

Segmenting a scene costs many times what a step of CLIP on its views costs. The bank is a folder of parts, each
written whole or not at all, whose name holds the hash of the SAM that proposed: another SAM makes another bank.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam

from salip_exp._files import write_bytes
from salip_exp.cascade.retrieval import MEAN, STD
from tools.embedded.scenes import Bank, Scene
from tools.embedded.train_clip import (
    CLASSES,
    ORGAN_CLASS,
    Views,
    candidates,
    fit,
    picture_of,
    sentences,
    what_it_shows,
)

VIEWS = 40
"""Most views kept of a scene."""
PART = 25
"""Scenes in a part."""
FIRST_SCENE = 10**7
"""SAM's phases never come this far: CLIP learns from proposals on scenes that SAM has not seen."""


class Part(NamedTuple):
    """Views of PART scenes, scene by scene."""

    pixels: NDArray[np.uint8]  # (N, side, side), grey
    shares: NDArray[np.float32]  # (N, C)
    fits: NDArray[np.float32]  # (N, 2)
    organ: NDArray[np.int64]  # (PART,)
    counts: NDArray[np.int64]  # (PART,), views of each scene


def folder_of(work: Path, sam_file: Path) -> Path:
    """Where the views that a SAM's proposals give are kept."""
    return work / f"views-{hashlib.sha256(sam_file.read_bytes()).hexdigest()[:12]}"


def make_part(bank: Bank, sam: Sam, number: int, side: int) -> Part:
    """Segment the scenes of part `number` and draw their views."""
    pixels, shares, fits, organs, counts = [], [], [], [], []
    for index in range(FIRST_SCENE + number * PART, FIRST_SCENE + (number + 1) * PART):
        rng = np.random.default_rng([bank.seed, 6, index])
        scene = bank.scene(index)
        masks = candidates(sam, rng, scene, VIEWS)
        pixels += [as_bytes(picture_of(rng, scene.picture, mask, side)) for mask in masks]
        shares += [what_it_shows(mask, scene) for mask in masks]
        asked = organ_asked(rng, scene)
        fits += [fits_of(mask, scene, asked) for mask in masks]
        organs.append(CLASSES.index(asked) if asked else 0)
        counts.append(len(masks))
    return Part(np.stack(pixels), np.stack(shares), np.stack(fits), np.array(organs), np.array(counts))


def organ_asked(rng: np.random.Generator, scene: Scene) -> str | None:
    """The class of one of the organs that a scene shows, for which its candidates are ranked; None without an organ."""
    shown = sorted({ORGAN_CLASS[r.name] for r in scene.regions if r.organ})
    return str(rng.choice(shown)) if shown else None


def fits_of(mask: NDArray[np.bool_], scene: Scene, asked: str | None) -> NDArray[np.float32]:
    """Fit of a mask to each organ of a class in its scene (two lungs), float32 (2,), 0 where there is none."""
    fits = [fit(mask, r.mask) for r in scene.regions if r.organ and ORGAN_CLASS[r.name] == asked]
    return np.array([*fits, 0.0, 0.0][:2], np.float32)


def as_bytes(view: torch.Tensor) -> NDArray[np.uint8]:
    """The grey picture that CLIP's normalised input (3, side, side) was made of."""
    return np.asarray(((view[0] * STD[0] + MEAN[0]) * 255).round().byte().numpy(), np.uint8)


def make_views(bank: Bank, sam: Sam, folder: Path, side: int, numbers: range) -> None:
    """Write the parts that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / f"{number:04d}.npz"
        if not path.exists():
            buffer = io.BytesIO()
            np.savez(buffer, **make_part(bank, sam, number, side)._asdict())
            write_bytes(path, buffer.getvalue())


class ViewBank:
    """The first `parts` parts of a folder, in memory, and the batches made of them."""

    def __init__(self, folder: Path, parts: int, seed: int) -> None:
        self.seed = seed
        read = [_read(folder / f"{number:04d}.npz") for number in range(parts)]
        self.pixels = np.concatenate([part.pixels for part in read])
        self.shares = np.concatenate([part.shares for part in read])
        self.fits = np.concatenate([part.fits for part in read])
        self.organ = np.concatenate([part.organ for part in read])
        self.starts = np.cumsum([0, *(count for part in read for count in part.counts)])

    def batch(self, scenes: int, per_scene: int, index: int) -> Views:
        """Batch number `index`: of each of `scenes` scenes `per_scene` views, and fresh sentences of every class."""
        rng = np.random.default_rng([self.seed, 7, index])
        chosen = rng.integers(len(self.organ), size=scenes)
        rows = np.concatenate([self._some(rng, int(scene), per_scene) for scene in chosen])
        pixels = self.pixels[rows]
        mirrored = rng.random(len(rows)) < 0.5
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        return Views(
            pixels=torch.from_numpy(pixels),
            shares=torch.from_numpy(self.shares[rows]),
            fits=torch.from_numpy(self.fits[rows].reshape(scenes, per_scene, 2)),
            organ=torch.from_numpy(self.organ[chosen]),
            tokens=sentences(rng),
        )

    def _some(self, rng: np.random.Generator, scene: int, count: int) -> NDArray[np.int64]:
        """Rows of `count` views of a scene, the same one twice only where there are too few."""
        start, stop = int(self.starts[scene]), int(self.starts[scene + 1])
        return start + rng.choice(stop - start, count, replace=stop - start < count)


def _read(path: Path) -> Part:
    with np.load(path) as file:
        return Part(**{name: file[name] for name in Part._fields})
