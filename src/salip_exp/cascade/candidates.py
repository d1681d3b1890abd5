"""Equation 1, first half: the table of everything SAM proposes in one crop box, before any threshold.

A sweep over thresholds selects rows of this table; the networks are not asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import calculate_stability_score, is_box_near_crop_edge

from salip_exp.cascade.embedding import Embedding, resizing_of, upscale
from salip_exp.cascade.grid_decoder import decode_grid
from salip_exp.cascade.options import MASKS_PER_POINT
from salip_exp.cascade.packing import OnDevice, hold, release
from salip_exp.cascade.pool import Masks, concatenate, pack, place
from salip_exp.cascade.work import SAME_BITS, Counters, Limit, Limits, extent, in_chunks, require_finite
from salip_exp.errors import CaseError
from salip_exp.networks.packages import Sam

MOST_BYTES = 4 * 10**9
"""Bits of all masks of one crop box; an image that needs more fails before it takes the machine's memory."""
_BYTES = {"cpu": 16 * 2**20, "mps": 2**29, "cuda": 3 * 2**30}
"""What decoding, and then upscaling, may hold at a time; a point that needs more is taken alone, or with three."""
_HELD = {"cpu": 0, "mps": 0, "cuda": 2**30}
"""Decoded logits, and bits of their masks, that are held until a GPU is waited for."""


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
class Candidates:
    """Candidates of one crop box as row-aligned arrays: what no threshold changes.

    Masks that touch a crop's inner edge never survive, whatever the thresholds, and are not kept.

    Attributes:
        predicted_iou: float32 (N,), SAM's own estimate.
        stability: float32 (N,), NaN for a mask that is empty at every offset.
        boxes: int64 (N, 4), x0 y0 x1 y1 with inclusive far edges, in pixels of the image; that of an empty mask is the
            crop's corner, as in the reference.
        points: float64 (N, 2), x y of the prompt in pixels of the image.
        crop_boxes: int64 (N, 4), x0 y0 x1 y1 of the crop box, far edges exclusive; the same in every row.
        masks: N masks in the frame of the image.
    """

    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    boxes: NDArray[np.int64]
    points: NDArray[np.float64]
    crop_boxes: NDArray[np.int64]
    masks: Masks

    def __len__(self) -> int:
        return len(self.masks)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Candidates:
        """The given rows (boolean keep mask, or positions in the wished order)."""
        return Candidates(**{name: getattr(self, name)[rows] for name in ARRAYS}, masks=self.masks.select(rows))


ARRAYS = tuple(each.name for each in fields(Candidates) if each.name != "masks")


def joined(shape: tuple[int, int], parts: Sequence[Candidates]) -> Candidates:
    """The rows of all parts, in order, for an image of (H, W); at least one part."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Candidates(**arrays, masks=concatenate(shape, [part.masks for part in parts]))


def confident(predicted_iou: torch.Tensor, threshold: float) -> torch.Tensor:
    """Rows whose predicted IoU exceeds the threshold, bool (N,); zero or less is no threshold and lets NaN pass."""
    return predicted_iou > threshold if threshold > 0.0 else torch.ones_like(predicted_iou, dtype=torch.bool)


def stable(stability: torch.Tensor, threshold: float) -> torch.Tensor:
    """Rows whose stability reaches the threshold, bool (N,); zero or less is no threshold and lets NaN pass."""
    return stability >= threshold if threshold > 0.0 else torch.ones_like(stability, dtype=torch.bool)


@torch.no_grad()
def candidates(
    net: Sam,
    embedding: Embedding,
    sampling: Sampling,
    counters: Counters,
    floor: Floor | None = None,
    limits: Limits | None = None,
) -> Candidates:
    """Decode the grid of the embedding's crop layer, three masks a point, in the order of the points.

    Args:
        floor: rows below it are left out, which saves upscaling them; None keeps every row.
        limits: what fits in memory; halved where it does not, with the same rows.

    Returns:
        The rows of the reference with the same `points_per_batch`. The last bit of predicted IoU may depend on the
        size of a batch, unless that is a multiple of SAME_BITS: a batch is decoded in such parts, or whole.

    Raises:
        CaseError: E_NONFINITE, an answer is no number; E_SIZE, the masks take too much memory.
    """
    floor, limits = floor or Floor(), limits or Limits()
    points = sampling.grids[embedding.layer] * np.array(embedding.crop_size)[None, ::-1]
    prompts = np.repeat(points, MASKS_PER_POINT, axis=0) + np.array(embedding.crop_box[:2])
    parts, done, held, extents = [_nothing(embedding)], 0, 0, []
    for low, predicted_iou in _together(_decoded(net, embedding, points, sampling, limits, counters), embedding):
        extents.append(extent(low, predicted_iou))
        rows = slice(done, done + len(low))
        part = _measure(net, embedding, low, predicted_iou, prompts[rows], sampling, floor, limits.masks)
        done, held = rows.stop, held + part.masks.bits.nbytes
        parts.append(part)
        _require_room(held, embedding)
    require_finite(torch.cat(extents), "SAM's answers to the grid of points")  # once, so that a GPU is not waited for
    return joined(embedding.image_size, parts)


def _require_room(held: int, embedding: Embedding) -> None:
    if held > MOST_BYTES:
        height, width = embedding.image_size
        raise CaseError(
            "E_SIZE",
            f"the candidates of this image of {width} x {height} pixels take more than {MOST_BYTES / 1e9:.1f} GB: take "
            "fewer sam.points_per_side, or a smaller dataset.resize.side.",
        )


def _points_at_once(net: Sam) -> int:
    """Points that decode within the budget: keys, queries and the upscaled embedding, per point."""
    side, width = int(net.image_encoder.img_size) // 16, int(net.prompt_encoder.embed_dim)
    per_point = 4 * (6 * width * side**2 + (width // 8 + 4) * (4 * side) ** 2 + width // 4 * (2 * side) ** 2)
    return max(1, _BYTES[net.device.type] // per_point // SAME_BITS) * SAME_BITS


_Answer = tuple[torch.Tensor, torch.Tensor]
"""Logits (3 P, h, w) and predicted IoU (3 P,) of P points."""


def _decoded(
    net: Sam,
    embedding: Embedding,
    points: NDArray[np.float64],
    sampling: Sampling,
    limits: Limits,
    counters: Counters,
) -> Iterator[_Answer]:
    """Answers to single foreground points in crop pixels, in order, as many at a time as fit."""
    size = sampling.points_per_batch
    batches = [points[first : first + size] for first in range(0, len(points), size)]
    for batch, prompts in zip(batches, [_prompted(net, embedding, batch) for batch in batches], strict=True):
        count = len(batch)
        limit = Limit("points", count) if count % SAME_BITS else limits.points.fit(_points_at_once(net))
        yield from in_chunks(count, limit, partial(_decode_points, net, embedding, *prompts))
        counters.decoded_points += count


def _prompted(net: Sam, embedding: Embedding, points: NDArray[np.float64]) -> tuple[Any, torch.Tensor | None]:
    """What the prompt encoder makes of a batch; it waits for a GPU (it looks for labels), so before any is decoded."""
    coords = torch.as_tensor(resizing_of(net).apply_coords(points, embedding.crop_size), device=net.device)
    labels = torch.ones(len(coords), dtype=torch.int, device=net.device)
    sparse, dense = net.prompt_encoder(points=(coords[:, None, :], labels[:, None]), boxes=None, masks=None)
    return sparse, dense


def _decode_points(
    net: Sam, embedding: Embedding, sparse: Any, dense: torch.Tensor | None, start: int, stop: int
) -> _Answer:
    part: Any = None
    if dense is not None:
        sparse, part = sparse[start:stop], dense[start:stop]
    else:  # a network of transformers embeds them itself: the prompts of one image by their names
        sparse = {name: each[:, start:stop] for name, each in sparse.items()}
    low, predicted_iou = decode_grid(net, embedding.features, sparse, part)
    return low.flatten(0, 1), predicted_iou.flatten(0, 1)


def _together(answers: Iterator[_Answer], embedding: Embedding) -> Iterator[_Answer]:
    """The same answers, joined to as many as a device may hold."""
    height, width = embedding.crop_size
    waiting: list[_Answer] = []
    held = 0
    for low, predicted_iou in answers:
        waiting.append((low, predicted_iou))
        held += low.nbytes + len(low) * height * width // 8
        if held >= _HELD[low.device.type]:
            yield _one(waiting)
            waiting, held = [], 0
    if waiting:
        yield _one(waiting)


def _one(answers: list[_Answer]) -> _Answer:
    if len(answers) == 1:
        return answers[0]
    low, predicted_iou = (torch.cat(each) for each in zip(*answers, strict=True))
    return low, predicted_iou


def _measure(
    net: Sam,
    embedding: Embedding,
    low: torch.Tensor,
    predicted_iou: torch.Tensor,
    prompts: NDArray[np.float64],
    sampling: Sampling,
    floor: Floor,
    limit: Limit,
) -> Candidates:
    """Full-resolution rows of decoded logits; those of too low a predicted IoU are not upscaled.

    A chunk of masks at a time, and none waits for a GPU: what is kept is asked for at the end.
    """
    height, width = embedding.image_size
    side = net.image_encoder.img_size
    points_at_once = _BYTES[net.device.type] // (4 * MASKS_PER_POINT * max(side * side, height * width))
    wanted = confident(predicted_iou, floor.predicted_iou).nonzero()[:, 0]

    def measure_part(start: int, stop: int) -> tuple[torch.Tensor, Masks | OnDevice]:
        logits = _upscale_rows(net, low[wanted[start:stop]], embedding)
        stability = _stability_of(logits, net.mask_threshold, sampling.stability_score_offset)
        return stability, hold(logits > net.mask_threshold)

    parts = list(in_chunks(len(wanted), limit.fit(MASKS_PER_POINT * max(1, points_at_once)), measure_part))
    if not parts:
        return _nothing(embedding)
    stability = torch.cat([each for each, _ in parts])
    keep = stable(stability, floor.stability)
    masks = release(embedding.crop_size, [each for _, each in parts], keep)
    kept = wanted[keep]
    edge = is_box_near_crop_edge(torch.from_numpy(masks.boxes), list(embedding.crop_box), [0, 0, width, height])
    rows = _rows(embedding, masks, predicted_iou[kept], stability[keep], prompts[kept.cpu().numpy()])
    return rows.select(~edge.numpy())


def _rows(
    embedding: Embedding,
    masks: Masks,
    predicted_iou: torch.Tensor,
    stability: torch.Tensor,
    prompts: NDArray[np.float64],
) -> Candidates:
    """Rows from masks in the frame of the crop box."""
    left, top = embedding.crop_box[:2]
    return Candidates(
        predicted_iou=predicted_iou.cpu().numpy(),
        stability=stability.cpu().numpy(),
        boxes=masks.boxes + np.array([left, top, left, top]),
        points=prompts,
        crop_boxes=np.tile(np.array(embedding.crop_box, np.int64), (len(masks), 1)),
        masks=place(masks, embedding.image_size, top, left),
    )


def _stability_of(logits: torch.Tensor, threshold: float, offset: float) -> torch.Tensor:
    """IoU of each mask (N, H, W) cut at `threshold + offset` with itself cut at `threshold - offset`, float32 (N,).

    On a CPU the reference's sums over bool tensors take four times as long as counting mask by mask; both count whole
    pixels and divide them in float32, so the quotients are the same.
    """
    if logits.device.type != "cpu":
        score: torch.Tensor = calculate_stability_score(logits, threshold, offset)
        return score
    maps = logits.numpy()
    inner = np.array([np.count_nonzero(each > threshold + offset) for each in maps], dtype=np.int32)
    outer = np.array([np.count_nonzero(each > threshold - offset) for each in maps], dtype=np.int32)
    return torch.from_numpy(inner) / torch.from_numpy(outer)


def _upscale_rows(net: Sam, low: torch.Tensor, embedding: Embedding) -> torch.Tensor:
    """Any low-resolution logits (m, h, w) at the size of the crop box, rounded as the reference rounds them.

    Torch on one thread interpolates three channels by another kernel than one channel, with other last bits; the
    reference always has the three masks of a point there, so rows go in threes, filled up where they do not suffice.
    """
    missing = -len(low) % MASKS_PER_POINT
    filled = torch.cat([low, low[:1].expand(missing, -1, -1)])
    threes = filled.reshape(-1, MASKS_PER_POINT, *low.shape[1:])
    return upscale(net, threes, embedding).flatten(0, 1)[: len(low)]


def _nothing(embedding: Embedding) -> Candidates:
    none = torch.zeros(0)
    return _rows(embedding, pack(np.zeros((0, *embedding.crop_size), bool)), none, none, np.zeros((0, 2)))
