"""Where CLIP looks for the text in a whole image: the gradient of its likeness over the patches, made to boxes.

The way of MedCLIP-SAM (Koleilat et al. 2024, https://arxiv.org/abs/2403.20253), with the CLIP at hand in the place of
a tuned one: its map is that of Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391) over the tokens that
the last block of the image tower is given, cut in two where Otsu's method cuts, which is where k-means with two means
does.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from salip_exp.cascade.retrieval import Embedding, fitted, input_of
from salip_exp.cascade.work import Counters, extent, require_finite
from salip_exp.config import ViewFit
from salip_exp.data._regions import components
from salip_exp.errors import ConfigError
from salip_exp.networks._library_clip import LibraryClip
from salip_exp.networks.packages import CLIP

_OTHER = "method=saliency asks a vision transformer, which this CLIP has not: take clip=vit_l_14"


def relevance(
    net: CLIP | LibraryClip, image: NDArray[np.uint8], prototype: Embedding, counters: Counters
) -> NDArray[np.float32]:
    """What every pixel of an image contributes to its likeness with a text: float32 (H, W), none below 0.

    Args:
        image: uint8 (H, W, 3) RGB; CLIP sees all of it, on a black square.
        prototype: of the text, (D,), of length 1.

    Raises:
        ConfigError: the image tower is no vision transformer.
        CaseError: E_NONFINITE, a gradient is no number.
    """
    device = next(net.parameters()).device
    pixels = input_of(net)[0](fitted(image, ViewFit.pad))[None].to(device)
    seen: list[torch.Tensor] = []

    def keep(block: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if not given or given[0].ndim != 3:
            raise ConfigError(_OTHER)
        seen.append(given[0].detach().requires_grad_())
        return (seen[-1], *given[1:])

    handle = _last_block(net.towers[0] if isinstance(net, LibraryClip) else net.visual).register_forward_pre_hook(keep)
    try:
        with torch.enable_grad():
            likeness = functional.cosine_similarity(
                net.encode_image(pixels).float(), torch.tensor(prototype, device=device).float()[None]
            )
            (gradient,) = torch.autograd.grad(likeness.sum(), seen)
    finally:
        handle.remove()
    counters.clip_image_forwards += 1
    counters.clip_images += 1
    patches = _map(_tokens(seen[0].detach()), _tokens(gradient))
    require_finite(extent(patches), "CLIP's gradient over the image")
    return _of_image(patches.cpu().numpy(), (image.shape[0], image.shape[1]))


def boxes_of(relevant: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Boxes of the k largest parts of what is relevant, float32 (0 to k, 4): x0 y0 x1 y1, far edges inclusive."""
    most = float(relevant.max(initial=0.0))
    if most <= 0:
        return np.zeros((0, 4), np.float32)
    levels = np.round(relevant / most * 255).astype(np.uint8)
    _, cut = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    edges = [(x.min(), y.min(), x.max(), y.max()) for y, x in map(np.nonzero, components(cut.astype(bool), k))]
    return np.array(edges, np.float32).reshape(-1, 4)


def _last_block(tower: nn.Module) -> nn.Module:
    """The last of the longest row of alike modules, which are the blocks of a transformer."""
    rows = [each for each in tower.modules() if isinstance(each, nn.Sequential | nn.ModuleList)]
    rows = [each for each in rows if len({type(block) for block in each}) == 1]
    if not rows:
        raise ConfigError(_OTHER)
    return max(rows, key=len)[-1]


def _tokens(given: torch.Tensor) -> torch.Tensor:
    """The patches of one image, float32 (G * G, C): what stands in front of them, of the whole image, is left out."""
    tokens = given.float().squeeze(0 if given.shape[0] == 1 else 1)
    side = int(len(tokens) ** 0.5)
    return tokens[-side * side :]


def _map(tokens: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Grad-CAM over patches (G * G, C): their channels weighted by the mean gradient, (G, G), none below 0."""
    side = int(len(tokens) ** 0.5)
    return (tokens @ gradient.mean(dim=0)).relu().reshape(side, side)


def _of_image(patches: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map over the black square at the size of the image that lies in its middle."""
    side, (height, width) = max(size), size
    square = cv2.resize(patches, (side, side), interpolation=cv2.INTER_LINEAR)
    top, left = (side - height) // 2, (side - width) // 2
    return np.ascontiguousarray(square[top : top + height, left : left + width])
