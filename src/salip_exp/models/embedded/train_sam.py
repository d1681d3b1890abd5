"""How the embedded SAM learns: points and boxes, three masks where a point is ambiguous, honest scores.

Each point is asked for every region that contains it (part, organ, whole); the three mask tokens are matched to them by
the assignment of least loss. Each box is asked for its region, with the single-mask token. No picture is ever shown
without a prompt, so that un-prompted SAM stays what it is in the original.
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

from salip_exp.models.embedded.architecture import PIXEL_MEAN, PIXEL_STD
from salip_exp.models.embedded.scenes import SIDE, Bank, Region

POINTS = 8
BOXES = 4
"""Prompts a picture: the encoder is the dear part of a step, and they share it."""
ORGAN_WEIGHT = 3.0
"""How much more the organ counts among what a point may mean: segment-everything mode is asked for it in the end."""
LOW = 64
"""Side of SAM's low-resolution masks: a quarter of the input's."""


class Sample(NamedTuple):
    """One training picture and its prompts; targets are soft: the share of each low-resolution cell that is covered."""

    image: Tensor  # float32 (3, 256, 256), normalised, zero-padded
    inside: Tensor  # float32 (64, 64), 1 where there is picture and not padding
    points: Tensor  # float32 (P, 1, 2), x y in input pixels
    point_targets: Tensor  # uint8 (P, 3, 64, 64), coverage times 255
    point_weights: Tensor  # float32 (P, 3), how much each target counts; 0 where there is none
    boxes: Tensor  # float32 (B, 4), x0 y0 x1 y1
    box_targets: Tensor  # uint8 (B, 64, 64)


def normalise(picture: NDArray[np.uint8]) -> Tensor:
    """SAM's own preprocessing of a grey picture (H, W): float32 (3, 256, 256)."""
    grey = torch.from_numpy(np.ascontiguousarray(picture)).float()
    mean, std = torch.tensor(PIXEL_MEAN)[:, None, None], torch.tensor(PIXEL_STD)[:, None, None]
    pad = (0, SIDE - picture.shape[1], 0, SIDE - picture.shape[0])
    return F.pad((grey[None] - mean) / std, pad)


def coverage(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Share of each low-resolution cell covered by a mask (H, W), times 255."""
    frame = np.zeros((SIDE, SIDE), np.uint8)
    frame[: mask.shape[0], : mask.shape[1]] = mask * np.uint8(255)
    return np.asarray(cv2.resize(frame, (LOW, LOW), interpolation=cv2.INTER_AREA), np.uint8)


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


def jittered_box(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The tight box with noise on each side: a tenth of its size for most, a quarter for some, as retrieval gives."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)
    size = np.array([box[2] - box[0], box[3] - box[1]] * 2, np.float32)
    noise = rng.normal(0, rng.choice([0.0, 0.04, 0.1], p=[0.25, 0.5, 0.25]), 4) * size
    limit = np.array([mask.shape[1], mask.shape[0]] * 2, np.float32) - 1
    return np.clip(box + np.clip(noise, -30, 30), 0, limit).astype(np.float32)


class Samples(Dataset[Sample]):
    """Training samples `start` to `stop` of a bank: number i is the same in every run, whatever the workers."""

    def __init__(self, bank: Bank, start: int, stop: int) -> None:
        self.bank, self.start, self.stop = bank, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, item: int) -> Sample:
        index = self.start + item
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
        frame = np.ones(shape, bool)
        return Sample(
            normalise(scene.picture), torch.from_numpy((coverage(frame) > 0).astype(np.float32)),
            torch.from_numpy(points), torch.from_numpy(targets), torch.from_numpy(weights), boxes, box_targets,
        )  # fmt: skip


def _box_prompts(rng: np.random.Generator, regions: list[Region]) -> tuple[Tensor, Tensor]:
    """Boxes (B, 4) around regions, every second one around an organ where there is one, and their targets."""
    organs = [r for r in regions if r.organ] or regions
    boxes, targets = np.zeros((BOXES, 4), np.float32), np.zeros((BOXES, LOW, LOW), np.uint8)
    for b in range(BOXES):
        choices = organs if rng.random() < 0.5 else regions
        mask = choices[int(rng.integers(len(choices)))].mask
        boxes[b], targets[b] = jittered_box(rng, mask), coverage(mask)
    return torch.from_numpy(boxes), torch.from_numpy(targets)


def decode(net: Sam, embedding: Tensor, points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """All four masks and scores of each prompt of one picture: (P + B, 4, 64, 64) logits, (P + B, 4) scores."""
    labels = torch.ones(points.shape[:2])
    with torch.autocast(embedding.device.type, enabled=False):  # positions need full precision
        asked, dense = net.prompt_encoder(points=(points, labels.to(points)), boxes=None, masks=None)
        boxed, _ = net.prompt_encoder(points=None, boxes=boxes, masks=None)
        position = net.prompt_encoder.get_dense_pe()
        dense = dense[:1].expand(len(points) + len(boxes), -1, -1, -1)
    masks, scores = net.mask_decoder.predict_masks(
        image_embeddings=embedding[None], image_pe=position,
        sparse_prompt_embeddings=torch.cat([asked, boxed]), dense_prompt_embeddings=dense,
    )  # fmt: skip
    return masks.float(), scores.float()


def mask_loss(logits: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the picture's own cells, over the last two axes; shapes broadcast."""
    entropy = F.softplus(logits) - logits * target
    weight = inside / inside.sum((-2, -1), keepdim=True)
    chance = logits.sigmoid() * inside
    both, either = (chance * target).sum((-2, -1)), (chance + target).sum((-2, -1))
    return 2 * (entropy * weight).sum((-2, -1)) + 1 - (2 * both + 1) / (either + 1)


def overlap(logits: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """IoU of the thresholded masks, over the last two axes."""
    got, want = (logits > 0) * inside, (target > 0.5) * inside
    either = torch.maximum(got, want).sum((-2, -1))
    return (got * want).sum((-2, -1)) / either.clamp(min=1)


def point_loss(logits: Tensor, scores: Tensor, target: Tensor, weights: Tensor, inside: Tensor) -> Tensor:
    """Loss of three masks per point (P, 3, h, w) against up to three meanings, matched by least loss; and of scores.

    `weights` (P, 3) say how much each meaning counts, 0 that there is none; scores know no favourite.
    """
    valid = weights > 0
    losses = mask_loss(logits[:, :, None], target[:, None], inside) * weights[:, None]
    orders, levels = torch.tensor(list(permutations(range(3)))).to(logits.device), torch.arange(3).to(logits.device)
    costs = torch.stack([losses[:, order, levels].sum(1) for order in orders])
    matched = costs.min(0).values / weights.sum(1).clamp(min=1)
    with torch.no_grad():
        ious = overlap(logits[:, :, None], target[:, None], inside) * valid[:, None]
    honest = F.mse_loss(scores, ious.max(2).values, reduction="none").mean(1)
    seen = valid.any(1)
    return ((matched + honest) * seen).sum() / seen.sum().clamp(min=1)


def loss(net: Sam, batch: Sample) -> Tensor:
    """Mean loss of a batch of samples (every field stacked along a first axis)."""
    embeddings = net.image_encoder(batch.image)
    total = torch.zeros((), device=batch.image.device)
    for i, embedding in enumerate(embeddings):
        inside = batch.inside[i]
        logits, scores = decode(net, embedding, batch.points[i], batch.boxes[i])
        target = batch.point_targets[i].float() / 255
        total = total + point_loss(logits[:POINTS, 1:], scores[:POINTS, 1:], target, batch.point_weights[i], inside)
        boxed = batch.box_targets[i].float() / 255
        total = total + mask_loss(logits[POINTS:, 0], boxed, inside).mean()
        total = total + F.mse_loss(scores[POINTS:, 0], overlap(logits[POINTS:, 0], boxed, inside).detach())
    return total / len(embeddings)
