"""How the embedded SAM learns: points and boxes, three masks where a point is ambiguous, honest scores.

Each point is asked for every region that contains it (part, organ, whole); the three mask tokens are matched to them by
the assignment of least loss. Each box is asked for its region, with the single-mask token. Asked nothing at all, the
single-mask token learns what stands out, the largest thing that is not the surroundings: the original, un-prompted,
knows no organ either.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from salip_exp.networks._embedded.networks import PIXEL_MEAN, PIXEL_STD
from tools.embedded.scenes import SIDE, Bank, Region

POINTS = 8
BOXES = 4
"""Prompts a picture: the encoder is the dear part of a step, and they share it."""
ORGAN_WEIGHT = 3.0
"""How much more the organ counts among what a point may mean: segment-everything mode is asked for it in the end."""
UNPROMPTED_WEIGHT = 0.2
"""How much it counts what SAM gives where nothing is asked, which no path of the cascade uses."""
LOW = 64
"""Side of SAM's low-resolution masks: a quarter of the input's."""


class Sample(NamedTuple):
    """One training picture and its prompts; targets are soft: the share of each low-resolution cell that is covered."""

    picture: Tensor  # uint8 (256, 256), grey, zero-padded
    shape: Tensor  # int64 (2,), rows and columns without the padding
    points: Tensor  # float32 (P, 1, 2), x y in input pixels
    point_targets: Tensor  # uint8 (P, 3, 64, 64), coverage times 255
    point_weights: Tensor  # float32 (P, 3), how much each target counts; 0 where there is none
    boxes: Tensor  # float32 (B, 4), x0 y0 x1 y1
    box_targets: Tensor  # uint8 (B, 64, 64)
    foreground: Tensor  # uint8 (64, 64), what un-prompted SAM is to give


def framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W) in the upper left of SAM's square, zeros beside and below it."""
    frame = np.zeros((SIDE, SIDE), np.uint8)
    frame[: picture.shape[0], : picture.shape[1]] = picture
    return frame


def normalise(pictures: Tensor, shapes: Tensor) -> Tensor:
    """SAM's own preprocessing of grey pictures uint8 (S, 256, 256) of shapes (S, 2): float32 (S, 3, 256, 256)."""
    grey = pictures[:, None].float()
    mean, std = (torch.tensor(value, device=grey.device)[:, None, None] for value in (PIXEL_MEAN, PIXEL_STD))
    return (grey - mean) / std * inside(shapes, SIDE)[:, None]


def inside(shapes: Tensor, side: int) -> Tensor:
    """Float32 (S, side, side): 1 for cells of a `side` x `side` grid that hold picture, 0 for padding."""
    starts = torch.arange(side, device=shapes.device) * (SIDE // side)
    rows, columns = starts < shapes[:, :1], starts < shapes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :]).float()


def coverage(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Share of each low-resolution cell covered by a mask (H, W), times 255."""
    return np.asarray(cv2.resize(framed(mask * np.uint8(255)), (LOW, LOW), interpolation=cv2.INTER_AREA), np.uint8)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def pick_point(rng: np.random.Generator, regions: list[Region], shape: tuple[int, int]) -> tuple[int, int]:
    """A pixel (row, column): anywhere, in an organ, or in a random region, so that small ones are asked too."""
    organs = [r for r in regions if r.organ]
    dice = rng.random()
    if dice < 0.2 or not regions:
        return int(rng.integers(shape[0])), int(rng.integers(shape[1]))
    chosen = organs if organs and dice < 0.75 else regions
    rows, columns = np.nonzero(chosen[int(rng.integers(len(chosen)))].mask)
    at = int(rng.integers(len(rows)))
    return int(rows[at]), int(columns[at])


def meanings(rng: np.random.Generator, regions: list[Region], row: int, column: int) -> list[Region]:
    """Up to three regions that contain the point, clearly different in size, the organ always among them."""
    inside = sorted((r for r in regions if r.mask[row, column]), key=lambda r: (not r.organ, rng.random()))
    chosen: list[Region] = []
    for region in inside:
        if all(iou(region.mask, other.mask) < 0.8 for other in chosen):
            chosen.append(region)
        if len(chosen) == 3:
            break
    return chosen


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Tight box of a mask that is not empty: top, left, bottom, right, the last two exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def jittered_box(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The tight box with noise on each side: a tenth of its size for most, a quarter for some, as retrieval gives."""
    top, left, bottom, right = extent(mask)
    box = np.array([left, top, right - 1, bottom - 1], np.float32)
    size = np.array([box[2] - box[0], box[3] - box[1]] * 2, np.float32)
    noise = rng.normal(0, rng.choice([0.0, 0.04, 0.1], p=[0.25, 0.5, 0.25]), 4) * size
    limit = np.array([mask.shape[1], mask.shape[0]] * 2, np.float32) - 1
    return np.clip(box + np.clip(noise, -30, 30), 0, limit).astype(np.float32)


class Samples(Dataset[Sample]):
    """The first `count` training samples of a bank: number i is the same in every run, whatever the workers."""

    def __init__(self, bank: Bank, count: int) -> None:
        self.bank, self.count = bank, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.bank.seed, 5, index])
        scene = self.bank.scene(index)
        shape = (scene.picture.shape[0], scene.picture.shape[1])
        points = np.zeros((POINTS, 1, 2), np.float32)
        targets = np.zeros((POINTS, 3, LOW, LOW), np.uint8)
        weights = np.zeros((POINTS, 3), np.float32)
        for p in range(POINTS):
            row, column = pick_point(rng, scene.regions, shape)
            points[p, 0] = column + 0.5, row + 0.5
            for level, region in enumerate(meanings(rng, scene.regions, row, column)):
                targets[p, level] = coverage(region.mask)
                weights[p, level] = ORGAN_WEIGHT if region.organ else 1.0
        boxes, box_targets = _box_prompts(rng, scene.regions)
        return Sample(
            torch.from_numpy(framed(scene.picture)), torch.tensor(shape),
            torch.from_numpy(points), torch.from_numpy(targets), torch.from_numpy(weights), boxes, box_targets,
            torch.from_numpy(coverage(foreground(scene.regions, shape))),
        )  # fmt: skip


def foreground(regions: list[Region], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The largest region that is not the surroundings, bool (H, W): a head, a trunk, the fan of an ultrasound."""
    things = [region.mask for region in regions if region.name != "outside"]
    return max(things, key=np.count_nonzero, default=np.zeros(shape, bool))


def _box_prompts(rng: np.random.Generator, regions: list[Region]) -> tuple[Tensor, Tensor]:
    """Boxes (B, 4) around regions, every second one around an organ where there is one, and their targets."""
    organs = [r for r in regions if r.organ] or regions
    boxes, targets = np.zeros((BOXES, 4), np.float32), np.zeros((BOXES, LOW, LOW), np.uint8)
    for b in range(BOXES):
        choices = organs if rng.random() < 0.5 else regions
        mask = choices[int(rng.integers(len(choices)))].mask
        boxes[b], targets[b] = jittered_box(rng, mask), coverage(mask)
    return torch.from_numpy(boxes), torch.from_numpy(targets)


def decode(net: Sam, embeddings: Tensor, points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """All four masks and scores of each prompt of S pictures, those of points (S, P, 1, 2) before boxes (S, B, 4).

    The decoder repeats one picture for all its prompts; many pictures at once come in where it adds the mask prompt.

    Returns:
        Logits (S, P + B, 4, 64, 64) and scores (S, P + B, 4).
    """
    each = points.shape[1] + boxes.shape[1]
    labels = torch.ones(points.shape[0] * points.shape[1], 1, device=points.device)
    with torch.autocast(embeddings.device.type, enabled=False):  # positions need full precision
        asked, dense = net.prompt_encoder(points=(points.flatten(0, 1), labels), boxes=None, masks=None)
        boxed, _ = net.prompt_encoder(points=None, boxes=boxes.flatten(0, 1), masks=None)
        position = net.prompt_encoder.get_dense_pe()
    prompts = torch.cat([asked.unflatten(0, points.shape[:2]), boxed.unflatten(0, boxes.shape[:2])], dim=1)
    masks, scores = net.mask_decoder.predict_masks(
        image_embeddings=torch.zeros_like(embeddings[:1]), image_pe=position,
        sparse_prompt_embeddings=prompts.flatten(0, 1),
        dense_prompt_embeddings=embeddings.repeat_interleave(each, dim=0) + dense[:1],
    )  # fmt: skip
    return masks.float().unflatten(0, (-1, each)), scores.float().unflatten(0, (-1, each))


def unprompted(net: Sam, embeddings: Tensor) -> Tensor:
    """Logits (S, 64, 64) of the single-mask token for S pictures about which nothing is asked."""
    with torch.autocast(embeddings.device.type, enabled=False):
        sparse, dense = net.prompt_encoder(points=None, boxes=None, masks=None)
        position = net.prompt_encoder.get_dense_pe()
    masks, _ = net.mask_decoder.predict_masks(
        image_embeddings=torch.zeros_like(embeddings[:1]), image_pe=position,
        sparse_prompt_embeddings=sparse.expand(len(embeddings), -1, -1), dense_prompt_embeddings=embeddings + dense,
    )  # fmt: skip
    alone: Tensor = masks[:, 0].float()
    return alone


def mask_loss(logits: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the picture's own cells, over the last two axes; shapes broadcast."""
    entropy = F.softplus(logits) - logits * target
    weight = cells / cells.sum((-2, -1), keepdim=True)
    chance = logits.sigmoid() * cells
    both, either = (chance * target).sum((-2, -1)), (chance + target).sum((-2, -1))
    return 2 * (entropy * weight).sum((-2, -1)) + 1 - (2 * both + 1) / (either + 1)


def overlap(logits: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """IoU of the thresholded masks, over the last two axes."""
    got, want = (logits > 0) * cells, (target > 0.5) * cells
    either = torch.maximum(got, want).sum((-2, -1))
    return (got * want).sum((-2, -1)) / either.clamp(min=1)


def point_loss(logits: Tensor, scores: Tensor, target: Tensor, weights: Tensor, cells: Tensor) -> Tensor:
    """Loss of three masks per point (P, 3, h, w) against up to three meanings, matched by least loss; and of scores.

    `weights` (P, 3) say how much each meaning counts, 0 that there is none; scores know no favourite.
    """
    valid = weights > 0
    losses = mask_loss(logits[:, :, None], target[:, None], cells) * weights[:, None]
    orders, levels = torch.tensor(list(permutations(range(3)))).to(logits.device), torch.arange(3).to(logits.device)
    costs = torch.stack([losses[:, order, levels].sum(1) for order in orders])
    matched = costs.min(0).values / weights.sum(1).clamp(min=1)
    with torch.no_grad():
        ious = overlap(logits[:, :, None], target[:, None], cells) * valid[:, None]
    honest = F.mse_loss(scores, ious.max(2).values, reduction="none").mean(1)
    seen = valid.any(1)
    return ((matched + honest) * seen).sum() / seen.sum().clamp(min=1)


def loss(net: Sam, batch: Sample) -> Tensor:
    """Mean loss of a batch of samples (every field stacked along a first axis)."""
    embeddings = net.image_encoder(normalise(batch.picture, batch.shape))
    logits, scores = decode(net, embeddings, batch.points, batch.boxes)
    cells = inside(batch.shape, LOW)[:, None]
    asked, boxed = batch.point_targets.float() / 255, batch.box_targets.float() / 255
    pointed = point_loss(
        logits[:, :POINTS, 1:].flatten(0, 1), scores[:, :POINTS, 1:].flatten(0, 1), asked.flatten(0, 1),
        batch.point_weights.flatten(0, 1), cells.repeat_interleave(POINTS, dim=0)[:, None],
    )  # fmt: skip
    single, sure = logits[:, POINTS:, 0], scores[:, POINTS:, 0]
    honest = F.mse_loss(sure, overlap(single, boxed, cells).detach())
    alone = mask_loss(unprompted(net, embeddings), batch.foreground.float() / 255, cells[:, 0])
    return pointed + mask_loss(single, boxed, cells).mean() + honest + UNPROMPTED_WEIGHT * alone.mean()
