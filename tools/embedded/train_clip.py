"""How the embedded CLIP learns: views of what the embedded SAM proposes, against sentences of what they show.

Candidates come from the trained SAM on training scenes, from the scenes' own regions, and from regions spoilt on
purpose (halves, unions, grown and shrunken ones). How much a candidate is the organ grows with its IoU, and among the
candidates of one scene the one that fits the organ best must be the most like its text: that is what retrieval asks.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.amg import batched_mask_to_box
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, nms

from salip_exp.cascade.options import VIEWS
from salip_exp.cascade.retrieval import MEAN, STD, preprocess
from salip_exp.config import ViewConfig, ViewFit
from salip_exp.networks.packages import CLIP, clip
from tools.embedded.scenes import SIDE, SMALLEST_REGION, Region, Scene
from tools.embedded.texts import THINGS, draw, vdt_sentences
from tools.embedded.train_sam import extent, framed, iou, normalise

Mask = NDArray[np.bool_]

SENTENCES_PER_CLASS = 3
POINTS = 48
"""Prompts with which a training scene is segmented."""
FLOOR = 0.35
"""Predicted IoU below which a proposal is not shown: lower than the cascade's, so that CLIP can be relied on there."""
SAME_BOX = 0.93
"""Overlap of boxes above which two proposals are one, as in segment-everything mode."""
SHARPNESS = 0.03
"""Difference in fit that makes one candidate e times as right as another of the same scene."""
CLASSES = tuple(THINGS)
ORGAN_CLASS = {
    "brain": "brain",
    "fetal_head": "fetal_head",
    "right_lung": "lung",
    "left_lung": "lung",
    "liver": "liver",
    "spleen": "spleen",
    "right_kidney": "kidney",
    "left_kidney": "kidney",
    "left_ventricle": "left_ventricle",
}
TISSUE_CLASS = {
    "brain": "mr_tissue",
    "head": "us_tissue",
    "chest": "xr_tissue",
    "abdomen": "ct_tissue",
    "heart": "heart_tissue",
    "noise": "shape",
}
BEYOND_CLASS = {
    "brain": "brain_beyond",
    "head": "fetal_head_beyond",
    "chest": "lung_beyond",
    "abdomen": "abdomen_beyond",
    "heart": "left_ventricle_beyond",
}
SAME, OTHER = 0.95, 0.6
"""IoU with the organ from which a candidate is wholly the organ, and below which it is not the organ at all."""
BEYOND_PARTS = {
    "head",
    "intracranial",
    "sector",
    "lungs",
    "thorax",
    "body",
    "cavity_of_trunk",
    "trunk",
    "both_ventricles",
}


class Views(NamedTuple):
    """A batch of S scenes with V views each, N = S * V: what they show, how well they fit, and tokenised sentences."""

    pixels: Tensor  # uint8 (N, side, side), grey, scene by scene
    shares: Tensor  # float32 (N, C), of every class in a view; rows sum to 1
    fits: Tensor  # float32 (S, V, 2), fit to each organ of the scene, 0 where there is none
    organ: Tensor  # int64 (S,), class of the scene's organ, 0 where it has none
    tokens: Tensor  # int (C * SENTENCES_PER_CLASS, 77), class by class


def what_it_shows(mask: Mask, scene: Scene) -> NDArray[np.float32]:
    """Share of each class in what a candidate of a scene shows, float32 (C,), by the region that it fits best."""
    shares = np.zeros(len(CLASSES), np.float32)
    organs = [r for r in scene.regions if r.organ]
    tissue = TISSUE_CLASS[scene.kind]
    other = tissue
    if organs:
        fits = [iou(mask, r.mask) for r in organs]
        organ = organs[int(np.argmax(fits))]
        name = ORGAN_CLASS[organ.name]
        alike = [r.mask for r in organs if ORGAN_CLASS[r.name] == name]
        inside = (mask & np.any(alike, axis=0)).sum() / mask.sum()
        covered = (mask & organ.mask).sum() / organ.mask.sum()
        if inside > 0.75:
            other = f"{name}_part"
        elif covered > 0.6 or (inside > 0.3 and covered > 0.3):
            other = BEYOND_CLASS[scene.kind]
        share = float(np.clip((max(fits) - OTHER) / (SAME - OTHER), 0, 1))
        shares[CLASSES.index(name)] = share
    else:
        share = 0.0
    if other == tissue:
        other = _tissue(mask, scene)
    shares[CLASSES.index(other)] += 1 - share
    return shares


def _tissue(mask: Mask, scene: Scene) -> str:
    """Class of a candidate that has little of the organ: background, the whole, or some tissue."""
    best = max(scene.regions, key=lambda r: iou(mask, r.mask), default=None)
    if best is not None and iou(mask, best.mask) > 0.5 and scene.kind != "noise":
        if best.name == "outside":
            return "background"
        if best.name in BEYOND_PARTS:
            return BEYOND_CLASS[scene.kind]
    return TISSUE_CLASS[scene.kind]


@torch.no_grad()
def proposals(sam: Sam, rng: np.random.Generator, picture: NDArray[np.uint8], points: int) -> list[Mask]:
    """Masks that the embedded SAM proposes for random points, best first, of like boxes the best: a pool in small."""
    height, width = picture.shape
    at = torch.from_numpy(rng.random((points, 1, 2), dtype=np.float32)) * torch.tensor([width, height])
    shape = torch.tensor([picture.shape])
    embedding = sam.image_encoder(normalise(torch.from_numpy(framed(picture))[None], shape))
    sparse, dense = sam.prompt_encoder(points=(at, torch.ones(points, 1)), boxes=None, masks=None)
    logits, scores = sam.mask_decoder(
        image_embeddings=embedding, image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True,
    )  # fmt: skip
    low, scores = logits.flatten(0, 1), scores.flatten()
    seen = low[:, : -(-height // 4), : -(-width // 4)] > 0
    good = (scores > FLOOR) & (seen.sum((-2, -1)) * 16 >= SMALLEST_REGION)
    low, scores, seen = low[good], scores[good], seen[good]
    low = low[nms(batched_mask_to_box(seen).float(), scores, SAME_BOX)]
    full = F.interpolate(low[:, None], (SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0, :height, :width] > 0
    return list(full.numpy())


def fit(mask: Mask, organ: Mask) -> float:
    """How well a candidate fits an organ: the mean of the IoU of the masks and that of their boxes.

    The box counts because it, and not the mask, prompts SAM for the final mask.
    """
    boxes = torch.tensor([extent(mask), extent(organ)], dtype=torch.float32)
    return (iou(mask, organ) + float(box_iou(boxes[:1], boxes[1:]))) / 2


def spoilt(rng: np.random.Generator, mask: Mask, regions: list[Region]) -> Mask:
    """A region made wrong on purpose: cut in half, joined with a neighbour, grown, shrunken or with a rough edge."""
    kind = rng.integers(4)
    if kind == 0:
        rows, columns = np.nonzero(mask)
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.indices(mask.shape)
        side = (x - rng.choice(columns)) * np.cos(angle) + (y - rng.choice(rows)) * np.sin(angle) > 0
        return np.asarray(mask & side)
    if kind == 1:
        return np.asarray(mask | regions[int(rng.integers(len(regions)))].mask)
    size = int(rng.integers(3, 25))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if kind == 2 else cv2.erode
    return np.asarray(change(mask.astype(np.uint8), kernel) > 0)


def candidates(sam: Sam, rng: np.random.Generator, scene: Scene, count: int) -> list[Mask]:
    """At most `count` masks of a scene: those near the organ are rather taken than others."""
    organs = [r for r in scene.regions if r.organ]
    regions = [r.mask for r in scene.regions]
    pool = proposals(sam, rng, scene.picture, POINTS) + [o.mask for o in organs]
    pool += [regions[i] for i in rng.permutation(len(regions))[:4]]
    pool += [spoilt(rng, r.mask, scene.regions) for r in organs * 2]
    pool = [m for m in pool if m.sum() >= SMALLEST_REGION]
    near = np.array([max((iou(m, o.mask) for o in organs), default=0.0) for m in pool])
    weight = np.where(near > 0.5, 4.0, 1.0)
    chosen = rng.choice(len(pool), min(count, len(pool)), replace=False, p=weight / weight.sum())
    return [pool[i] for i in chosen]


def picture_of(rng: np.random.Generator, picture: NDArray[np.uint8], mask: Mask, side: int) -> Tensor:
    """A candidate as CLIP sees it: masked crop, padded or centre-cropped, at times without the mask."""
    top, left, bottom, right = extent(mask)
    box = (left, top, right - 1, bottom - 1)
    crop = VIEWS["crop"].draw(np.repeat(picture[:, :, None], 3, 2), mask, box, ViewConfig())
    return preprocess(crop, side, ViewFit.pad if rng.random() < 0.85 else ViewFit.center_crop)


def sentences(rng: np.random.Generator) -> Tensor:
    """Fresh sentences of every class, tokenised, class by class."""
    vdt = vdt_sentences()
    drawn: Tensor = clip.tokenize([draw(rng, name, vdt) for name in CLASSES for _ in range(SENTENCES_PER_CLASS)])
    return drawn


def as_input(grey: Tensor) -> Tensor:
    """Grey pictures uint8 (N, side, side) as CLIP takes them: float32 (N, 3, side, side)."""
    mean, std = (torch.tensor(value, device=grey.device)[:, None, None] for value in (MEAN, STD))
    return (grey[:, None].float() / 255 - mean) / std


def loss(net: CLIP, batch: Views) -> Tensor:
    """What a view is told by, plus half of what a sentence is told by, plus which view of a scene is its organ."""
    image = F.normalize(net.encode_image(as_input(batch.pixels)).float(), dim=-1)
    text = F.normalize(net.encode_text(batch.tokens).float(), dim=-1)
    scale = net.logit_scale.exp().clamp(max=100)
    prototypes = F.normalize(text.unflatten(0, (-1, SENTENCES_PER_CLASS)).mean(1), dim=-1)
    by_scene = image.unflatten(0, batch.fits.shape[:2])
    ranking = scale * (by_scene * prototypes[batch.organ][:, None]).sum(-1)
    return naming_loss(scale * image @ text.T, batch.shares) + ranking_loss(ranking, batch.fits)


def naming_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy of each view against all sentences, and of each sentence against all views, with soft targets."""
    shares = shares.repeat_interleave(SENTENCES_PER_CLASS, dim=1) / SENTENCES_PER_CLASS
    by_text = shares / shares.sum(0, keepdim=True).clamp(min=1e-6)
    present = shares.sum(0) > 0.1
    image_loss: Tensor = -(shares * logits.log_softmax(1)).sum(1).mean()
    text_loss: Tensor = -(by_text * logits.log_softmax(0)).sum(0)[present].mean()
    return image_loss + 0.5 * text_loss


def ranking_loss(logits: Tensor, fits: Tensor) -> Tensor:
    """Cross-entropy of the views of scenes (S, V) by likeness to the organ's prototype, against how well they fit it.

    `fits` (S, V, 2) are those of `fit`. Each organ of a scene (two lungs) gets an equal share; one that no view
    shows asks for nothing.
    """
    wanted = (fits / SHARPNESS).softmax(1)
    missed = -(wanted * logits.log_softmax(1)[..., None]).sum(1)
    found = fits.amax(1) > 0.5
    return (missed * found).sum() / found.sum().clamp(min=1)
