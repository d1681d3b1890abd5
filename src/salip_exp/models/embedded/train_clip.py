"""How the embedded CLIP learns: views of what the embedded SAM proposes, against sentences of what they show.

Candidates come from the trained SAM on training scenes, from the scenes' own regions, and from regions spoilt on
purpose (halves, unions, grown and shrunken ones). How much a candidate is the organ grows with its IoU, so
that of two masks of the same organ the better one is more like its text.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from salip_exp.cascade.retrieval import preprocess
from salip_exp.cascade.views import view
from salip_exp.config import ViewConfig, ViewFit
from salip_exp.models.embedded.scenes import SIDE, SMALLEST_REGION, Bank, Region, Scene
from salip_exp.models.embedded.texts import THINGS, draw, vdt_sentences
from salip_exp.models.embedded.train_sam import iou, normalise
from salip_exp.models.packages import CLIP, clip

Mask = NDArray[np.bool_]

SENTENCES_PER_CLASS = 3
CLASSES = tuple(THINGS)
ORGAN_CLASS = {"brain": "brain", "fetal_head": "fetal_head", "right_lung": "lung", "left_lung": "lung"}
TISSUE_CLASS = {"brain": "mr_tissue", "head": "us_tissue", "chest": "xr_tissue", "noise": "shape"}
SAME, OTHER = 0.9, 0.6
"""IoU with the organ from which a candidate is wholly the organ, and below which it is not the organ at all."""
BEYOND_PARTS = {"head", "intracranial", "sector", "lungs", "thorax", "body"}


class Views(NamedTuple):
    """A batch: pictures as CLIP takes them, how much each shows of every class, and tokenised sentences."""

    pixels: Tensor  # float32 (N, 3, side, side)
    shares: Tensor  # float32 (N, C), rows sum to 1
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
        inside = (mask & np.any([r.mask for r in organs], axis=0)).sum() / mask.sum()
        covered = (mask & organ.mask).sum() / organ.mask.sum()
        if inside > 0.75:
            other = f"{name}_part"
        elif covered > 0.6 or (inside > 0.3 and covered > 0.3):
            other = f"{name}_beyond"
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
            return {"brain": "brain_beyond", "head": "fetal_head_beyond", "chest": "lung_beyond"}[scene.kind]
    return TISSUE_CLASS[scene.kind]


@torch.no_grad()
def proposals(sam: Sam, rng: np.random.Generator, picture: NDArray[np.uint8], points: int) -> list[Mask]:
    """Masks that the embedded SAM proposes for random points, the three of each point, and for boxes around some."""
    height, width = picture.shape
    at = torch.from_numpy(rng.random((points, 1, 2), dtype=np.float32)) * torch.tensor([width, height])
    embedding = sam.image_encoder(normalise(picture)[None])
    sparse, dense = sam.prompt_encoder(points=(at, torch.ones(points, 1)), boxes=None, masks=None)
    logits, scores = sam.mask_decoder(
        image_embeddings=embedding, image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True,
    )  # fmt: skip
    full = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)[:, :, :height, :width] > 0
    good = (scores > 0.4) & (full.sum((-2, -1)) >= SMALLEST_REGION)
    return list(full[good].numpy())


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
    """`count` masks of a scene: half of them near the organ where there is one, the rest as they come."""
    proposed = proposals(sam, rng, scene.picture, 20)
    organs = [r for r in scene.regions if r.organ]
    regions = [r.mask for r in scene.regions]
    pool = proposed + [regions[i] for i in rng.permutation(len(regions))[:6]]
    pool += [spoilt(rng, r.mask, scene.regions) for r in organs * 3]
    pool += [o.mask for o in organs]
    pool = [m for m in pool if m.sum() >= SMALLEST_REGION]
    near = np.array([max((iou(m, o.mask) for o in organs), default=0.0) for m in pool])
    weight = np.where(near > 0.5, 3.0, 1.0)
    chosen = rng.choice(len(pool), min(count, len(pool)), replace=False, p=weight / weight.sum())
    return [pool[i] for i in chosen]


def picture_of(rng: np.random.Generator, picture: NDArray[np.uint8], mask: Mask, side: int) -> Tensor:
    """A candidate as CLIP sees it: masked crop, padded or centre-cropped, at times without the mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    crop = view(np.repeat(picture[:, :, None], 3, 2), mask, box, ViewConfig())
    return preprocess(crop, side, ViewFit.pad if rng.random() < 0.75 else ViewFit.center_crop)


def views_of(bank: Bank, sam: Sam, index: int, scenes: int, per_scene: int, side: int) -> Views:
    """Batch number `index`: views of `scenes` training scenes, and fresh sentences of every class."""
    rng = np.random.default_rng([bank.seed, 6, index])
    pixels, shares = [], []
    for number in range(scenes):
        scene = bank.scene(10**7 + index * scenes + number)
        for mask in candidates(sam, rng, scene, per_scene):
            pixels.append(picture_of(rng, scene.picture, mask, side))
            shares.append(what_it_shows(mask, scene))
    vdt = vdt_sentences()
    sentences = [draw(rng, name, vdt) for name in CLASSES for _ in range(SENTENCES_PER_CLASS)]
    return Views(torch.stack(pixels), torch.from_numpy(np.stack(shares)), clip.tokenize(sentences))


def loss(net: CLIP, batch: Views) -> Tensor:
    """Cross-entropy of each view against all sentences, and of each sentence against all views, with soft targets."""
    image = F.normalize(net.encode_image(batch.pixels).float(), dim=-1)
    text = F.normalize(net.encode_text(batch.tokens).float(), dim=-1)
    logits = net.logit_scale.exp().clamp(max=100) * image @ text.T
    shares = batch.shares.repeat_interleave(SENTENCES_PER_CLASS, dim=1) / SENTENCES_PER_CLASS
    by_text = shares / shares.sum(0, keepdim=True).clamp(min=1e-6)
    present = shares.sum(0) > 0.1
    image_loss: Tensor = -(shares * logits.log_softmax(1)).sum(1).mean()
    text_loss: Tensor = -(by_text * logits.log_softmax(0)).sum(0)[present].mean()
    return image_loss + 0.5 * text_loss
