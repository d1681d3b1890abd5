"""Equation 5: boxes around the retrieved candidates prompt SAM, and what it gives is united."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide

from salip_exp.cascade.embedding import Embedding, decode, upscale
from salip_exp.cascade.work import Counters, extent, require_finite
from salip_exp.config import OrganConfig
from salip_exp.networks.packages import Sam


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
    net: Sam, embedding: Embedding, box: NDArray[np.float32], config: OrganConfig, counters: Counters
) -> NDArray[np.bool_]:
    """SAM's mask for one usable box, bool (H, W), as `SamPredictor.predict` gives it.

    Boxes are decoded one by one: in a batch the last bits of a mask's logits depend on the other boxes.

    Args:
        embedding: of the whole image.
        box: float32 (4,), in pixels of the image.

    Raises:
        CaseError: E_NONFINITE, an answer is no number.
    """
    resize = ResizeLongestSide(net.image_encoder.img_size)
    prompts = resize.apply_boxes_torch(torch.from_numpy(box[None]).to(net.device), embedding.crop_size)
    low, predicted_iou = decode(net, embedding, config.multimask, boxes=prompts)
    counters.box_decodes += 1
    logits = upscale(net, low, embedding)[0, predicted_iou[0].argmax()]
    return _cut(logits, extent(low, predicted_iou), config)


@torch.no_grad()
def segment_unprompted(net: Sam, embedding: Embedding, config: OrganConfig, counters: Counters) -> NDArray[np.bool_]:
    """The one mask that SAM's default embedding gives without any prompt (token 0), bool (H, W).

    Raises:
        CaseError: E_NONFINITE, an answer is no number.
    """
    low, _ = decode(net, embedding, multimask=False)
    counters.unprompted_decodes += 1
    return _cut(upscale(net, low, embedding)[0, 0], extent(low), config)


def _cut(logits: torch.Tensor, extents: torch.Tensor, config: OrganConfig) -> NDArray[np.bool_]:
    mask = np.asarray((logits > config.threshold).cpu().numpy(), dtype=bool)
    require_finite(extents, "SAM's logits of the organ")  # after the copy, for which a GPU was waited for anyway
    return mask
