"""Equation 1, first half: the table of everything SAM proposes in one crop box, before any threshold.

A sweep over thresholds selects rows of this table; the networks are not asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score, is_box_near_crop_edge
from segment_anything.utils.transforms import ResizeLongestSide

from salip_exp.cascade.counters import Counters
from salip_exp.cascade.embedding import Embedding, decode, upscale
from salip_exp.models.packages import Sam

UPSCALE_BYTES = 64 * 2**20  # of float32 logits held at full resolution at a time; no bit of a row depends on it
MASKS_PER_POINT = 3


@dataclass(frozen=True)
class Sampling:
    """What decides the table.

    Attributes:
        grids: float64 (P, 2) x y in [0, 1] for each crop layer.
        points_per_batch: points decoded at a time; memory, and at times the last bit of predicted IoU.
        stability_score_offset: shift of the logit threshold in the stability score.
    """

    grids: Sequence[NDArray[np.float64]]
    points_per_batch: int
    stability_score_offset: float


@dataclass(frozen=True)
class Floor:
    """Quality below which a row need not be kept; zero keeps all, as a sweep over thresholds needs."""

    predicted_iou: float = 0.0
    stability: float = 0.0


@dataclass(frozen=True)
class Rows:
    """Candidates as row-aligned arrays: what no threshold changes.

    Masks that touch a crop's inner edge never survive, whatever the thresholds, and are not kept.

    Attributes:
        predicted_iou: float32 (N,), SAM's own estimate.
        stability: float32 (N,), NaN for a mask that is empty at every offset.
        boxes: int64 (N, 4), x0 y0 x1 y1 with inclusive far edges, in pixels of the image.
        points: float64 (N, 2), x y of the prompt in pixels of the image.
        bits: uint8 (N, ceil(h * w / 8)), the mask inside the crop box, packed.
    """

    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    boxes: NDArray[np.int64]
    points: NDArray[np.float64]
    bits: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.predicted_iou)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Rows:
        """The given rows (boolean keep mask, or positions in the wished order)."""
        return Rows(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Candidates:
    """The rows of one crop box; `crop_box` and `image_size` as in Embedding."""

    crop_box: tuple[int, int, int, int]
    image_size: tuple[int, int]
    rows: Rows

    def mask(self, row: int) -> NDArray[np.bool_]:
        """The mask of one row in the frame of the image, bool (H, W)."""
        x0, y0, x1, y1 = self.crop_box
        height, width = y1 - y0, x1 - x0
        mask = np.zeros(self.image_size, dtype=bool)
        bits = np.unpackbits(self.rows.bits[row], count=height * width)
        mask[y0:y1, x0:x1] = bits.reshape(height, width)
        return mask


def confident(predicted_iou: torch.Tensor, threshold: float) -> torch.Tensor:
    """Rows whose predicted IoU exceeds the threshold, bool (N,); zero or less is no threshold and lets NaN pass."""
    return predicted_iou > threshold if threshold > 0.0 else torch.ones_like(predicted_iou, dtype=torch.bool)


def stable(stability: torch.Tensor, threshold: float) -> torch.Tensor:
    """Rows whose stability reaches the threshold, bool (N,); zero or less is no threshold and lets NaN pass."""
    return stability >= threshold if threshold > 0.0 else torch.ones_like(stability, dtype=torch.bool)


@torch.no_grad()
def candidates(
    net: Sam, embedding: Embedding, sampling: Sampling, counters: Counters, floor: Floor | None = None
) -> Candidates:
    """Decode the grid of the embedding's crop layer, three masks a point, in the order of the points.

    Args:
        floor: rows below it are left out, which saves upscaling them; None keeps every row.

    Returns:
        The rows of the reference with the same `points_per_batch`. Torch's matrix products may round the last bit of
        predicted IoU by another way in batches of another size (measured on CPU: none differs in batches of 8, 16,
        32; batches not divisible by 4 do), so the batch size belongs to whatever names a table.
    """
    points = sampling.grids[embedding.layer] * np.array(embedding.crop_size)[None, ::-1]
    parts = [_no_rows(embedding)]
    for start in range(0, len(points), sampling.points_per_batch):
        batch = points[start : start + sampling.points_per_batch]
        low, predicted_iou = _decode_points(net, embedding, batch)
        counters.decoded_points += len(batch)
        repeated = np.repeat(batch, MASKS_PER_POINT, axis=0) + np.array(embedding.crop_box[:2])
        parts.extend(_measure(net, embedding, low, predicted_iou, repeated, sampling, floor or Floor()))
    joined = Rows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)))
    return Candidates(embedding.crop_box, embedding.image_size, joined)


def _decode_points(net: Sam, embedding: Embedding, points: NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-resolution logits (3 P, h, w) and predicted IoU (3 P,) of single foreground points in crop pixels."""
    resize = ResizeLongestSide(net.image_encoder.img_size)
    coords = torch.as_tensor(resize.apply_coords(points, embedding.crop_size), device=net.device)
    labels = torch.ones(len(coords), dtype=torch.int, device=net.device)
    low, predicted_iou = decode(net, embedding, multimask=True, points=(coords[:, None, :], labels[:, None]))
    return low.flatten(0, 1), predicted_iou.flatten(0, 1)


def _measure(
    net: Sam,
    embedding: Embedding,
    low: torch.Tensor,
    predicted_iou: torch.Tensor,
    points: NDArray[np.float64],
    sampling: Sampling,
    floor: Floor,
) -> Iterator[Rows]:
    """Full-resolution rows of decoded logits, a chunk of masks at a time."""
    height, width = embedding.image_size
    side = net.image_encoder.img_size
    points_at_once = UPSCALE_BYTES // (4 * MASKS_PER_POINT * max(side * side, height * width))
    chunk = MASKS_PER_POINT * max(1, points_at_once)
    wanted = confident(predicted_iou, floor.predicted_iou).nonzero()[:, 0]
    for start in range(0, len(wanted), chunk):
        index = wanted[start : start + chunk]
        logits = upscale_rows(net, low[index], embedding)
        stability = calculate_stability_score(logits, net.mask_threshold, sampling.stability_score_offset)
        masks = logits > net.mask_threshold
        boxes = batched_mask_to_box(masks)
        keep = stable(stability, floor.stability)
        keep &= ~is_box_near_crop_edge(boxes, list(embedding.crop_box), [0, 0, width, height])
        yield Rows(
            predicted_iou=predicted_iou[index][keep].cpu().numpy(),
            stability=stability[keep].cpu().numpy(),
            boxes=boxes[keep].cpu().numpy() + np.array(embedding.crop_box[:2] * 2),
            points=points[index[keep].cpu().numpy()],
            bits=np.packbits(masks[keep].flatten(1).cpu().numpy(), axis=1),
        )


def upscale_rows(net: Sam, low: torch.Tensor, embedding: Embedding) -> torch.Tensor:
    """Any low-resolution logits (m, h, w) at the size of the crop box, rounded as the reference rounds them.

    Torch on one thread interpolates three channels by another kernel than one channel, with other last bits; the
    reference always has the three masks of a point there, so rows go in threes, filled up where they do not suffice.
    """
    missing = -len(low) % MASKS_PER_POINT
    filled = torch.cat([low, low[:1].expand(missing, -1, -1)])
    threes = filled.reshape(-1, MASKS_PER_POINT, *low.shape[1:])
    return upscale(net, threes, embedding).flatten(0, 1)[: len(low)]


def _no_rows(embedding: Embedding) -> Rows:
    height, width = embedding.crop_size
    return Rows(
        predicted_iou=np.zeros(0, np.float32),
        stability=np.zeros(0, np.float32),
        boxes=np.zeros((0, 4), np.int64),
        points=np.zeros((0, 2)),
        bits=np.zeros((0, -(-height * width // 8)), np.uint8),
    )
