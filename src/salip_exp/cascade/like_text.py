"""What of an image is like a text, pixel by pixel, by the decoder that a CLIPSeg has beside its CLIP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from salip_exp.cascade.work import Counters, extent, require_finite
from salip_exp.errors import ConfigError
from salip_exp.networks._library_clip import LibraryClip
from salip_exp.networks.packages import CLIP


@torch.no_grad()
def condition(net: CLIP | LibraryClip, sentences: Sequence[str], counters: Counters) -> NDArray[np.float32]:
    """The mean of the sentences' embeddings as the decoder takes them, of whatever length, float32 (D,).

    Raises:
        ConfigError: the network has no decoder, or a sentence has more tokens than it reads.
    """
    if not isinstance(net, LibraryClip) or net.segment is None:
        raise ConfigError("method=clipseg asks a CLIP that brings a decoder of its own: take clip=clipseg")
    tokens = torch.cat([net.tokens(sentence) for sentence in sentences])
    counters.clip_text_forwards += 1
    return np.asarray(net.encode_text(tokens.to(_device(net))).mean(dim=0).float().cpu().numpy())


@torch.no_grad()
def like_text(
    net: LibraryClip, image: NDArray[np.uint8], wanted: NDArray[np.float32], threshold: float, counters: Counters
) -> NDArray[np.bool_]:
    """The pixels whose logit is above the threshold, bool (H, W); logits are resized bilinearly to the image.

    Args:
        image: uint8 (H, W, 3) RGB, which the network's own preprocessing squeezes into its square.
        wanted: as `condition` gives it.

    Raises:
        CaseError: E_NONFINITE, a logit is no number.
    """
    assert net.segment is not None  # `condition` has asked
    pixels = net.pixels(Image.fromarray(np.ascontiguousarray(image)))[None].to(_device(net))
    logits = net.segment(pixels, torch.tensor(wanted, device=_device(net))[None])
    counters.clip_image_forwards += 1
    counters.clip_images += 1
    square = logits.float().reshape(1, 1, *logits.shape[-2:])
    full = functional.interpolate(square, image.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    mask = np.asarray((full > threshold).cpu().numpy(), dtype=bool)
    require_finite(extent(full), "CLIPSeg's logits")
    return mask


def _device(net: LibraryClip) -> torch.device:
    device: torch.device = next(net.parameters()).device
    return device
