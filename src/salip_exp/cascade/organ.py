"""Equation 5: boxes around the retrieved candidates prompt SAM, and what it gives is united."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from salip_exp.cascade.embedding import Embedding, decode, resizing_of, upscale
from salip_exp.cascade.work import Counters, extent, require_finite
from salip_exp.config import OrganConfig
from salip_exp.networks.packages import Sam

_SURE = 10.0
"""Logit by which a mask prompt says that all of a pixel is organ, or none: SAM's own answers seldom exceed it."""


@dataclass(frozen=True)
class Hint:
    """What SAM is told of an organ beside its box.

    Attributes:
        points: float32 (N, 3), x y in pixels of the image and a label: 1 on the organ, 0 beside it.
        mask: bool (H, W), roughly the organ; None where there is none to tell.
    """

    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    mask: NDArray[np.bool_] | None = None


_NONE = Hint()


def usable_boxes(boxes: NDArray[np.float32], image_size: tuple[int, int]) -> NDArray[np.float32]:
    """The boxes that may prompt SAM, clipped to the frame; SAM itself would answer any with a plausible mask.

    Args:
        boxes: float32 (N, 4), x0 y0 x1 y1 with inclusive far edges.
        image_size: (height, width).

    Returns:
        float32 (M, 4) in the same order, without boxes that are not finite, inverted, of no extent, or outside.
    """
    height, width = image_size
    finite = boxes[np.isfinite(boxes).all(axis=1)].reshape(-1, 4)
    clipped = np.clip(finite, 0, np.array([width - 1, height - 1] * 2, np.float32)).astype(np.float32)
    return clipped[(clipped[:, 2:] > clipped[:, :2]).all(axis=1)]


@torch.no_grad()
def segment_box(
    net: Sam,
    embedding: Embedding,
    box: NDArray[np.float32] | None,
    config: OrganConfig,
    counters: Counters,
    hint: Hint = _NONE,
) -> NDArray[np.bool_]:
    """SAM's mask for one usable box and what it is told beside it, bool (H, W), as `SamPredictor.predict` gives it.

    Boxes are decoded one by one: in a batch the last bits of a mask's logits depend on the other boxes.

    Args:
        embedding: of the whole image.
        box: float32 (4,), in pixels of the image; None where a hint says all.
        hint: told together with it.

    Raises:
        CaseError: E_NONFINITE, an answer is no number.
    """
    counters.box_decodes += 1
    framed = None if box is None else _framed(net, embedding, box)
    points = _placed(net, embedding, hint.points) if len(hint.points) else None
    mask = None if hint.mask is None else _low(net, embedding, hint.mask)
    return _best(net, embedding, *decode(net, embedding, config.multimask, framed, points, mask), config)


@torch.no_grad()
def segment_answers(
    net: Sam,
    embedding: Embedding,
    box: NDArray[np.float32],
    multimask: bool,
    threshold: float,
    counters: Counters,
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """All masks that SAM gives for one usable box, bool (3 or 1, H, W), and what IoU it predicts of each, float32.

    Raises:
        CaseError: E_NONFINITE, an answer is no number.
    """
    counters.box_decodes += 1
    low, predicted_iou = decode(net, embedding, multimask, _framed(net, embedding, box))
    config = OrganConfig(multimask, threshold)
    masks = _cut(upscale(net, low, embedding)[0], extent(low, predicted_iou), config)
    return masks, predicted_iou[0].cpu().numpy().astype(np.float32)


@torch.no_grad()
def segment_unprompted(net: Sam, embedding: Embedding, config: OrganConfig, counters: Counters) -> NDArray[np.bool_]:
    """The one mask that SAM's default embedding gives without any prompt (token 0), bool (H, W).

    Raises:
        CaseError: E_NONFINITE, an answer is no number.
    """
    low, _ = decode(net, embedding, multimask=False)
    counters.unprompted_decodes += 1
    return _cut(upscale(net, low, embedding)[0, 0], extent(low), config)


def _framed(net: Sam, embedding: Embedding, box: NDArray[np.float32]) -> torch.Tensor:
    """A box of the image in the frame of the encoded square, (1, 4)."""
    framed: torch.Tensor = resizing_of(net).apply_boxes_torch(
        torch.from_numpy(box[None]).to(net.device), embedding.crop_size
    )
    return framed


def _placed(net: Sam, embedding: Embedding, points: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the image in that frame, (1, N, 2), and their labels, (1, N)."""
    placed = resizing_of(net).apply_coords(points[:, :2].astype(np.float64), embedding.crop_size)
    coordinates = torch.as_tensor(placed, dtype=torch.float32, device=net.device)
    return coordinates[None], torch.as_tensor(points[:, 2], dtype=torch.int, device=net.device)[None]


def _low(net: Sam, embedding: Embedding, mask: NDArray[np.bool_]) -> torch.Tensor:
    """A mask of the image as logits in that frame, (1, 1, h, w): by the share of a pixel that is organ."""
    height, width = embedding.input_size
    square = np.zeros((net.image_encoder.img_size,) * 2, np.float32)
    square[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    rows, columns = net.prompt_encoder.mask_input_size
    share = cv2.resize(square, (columns, rows), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(_SURE * (2 * share - 1))[None, None].to(net.device)


def _best(
    net: Sam, embedding: Embedding, low: torch.Tensor, predicted_iou: torch.Tensor, config: OrganConfig
) -> NDArray[np.bool_]:
    """The mask that SAM thinks most of among those of one prompt, bool (H, W)."""
    logits = upscale(net, low, embedding)[0, predicted_iou[0].argmax()]
    return _cut(logits, extent(low, predicted_iou), config)


def _cut(logits: torch.Tensor, extents: torch.Tensor, config: OrganConfig) -> NDArray[np.bool_]:
    mask = np.asarray((logits > config.threshold).cpu().numpy(), dtype=bool)
    require_finite(extents, "SAM's logits of the organ")  # after the copy, for which a GPU was waited for anyway
    return mask
