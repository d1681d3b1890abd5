"""SAM's two halves: an image is encoded once per crop box, and every prompt is decoded from that embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import generate_crop_boxes
from segment_anything.utils.transforms import ResizeLongestSide

from salip_exp.cascade.counters import Counters
from salip_exp.models.packages import Sam


@dataclass(frozen=True)
class Embedding:
    """What SAM's encoder made of one crop box of an image.

    Attributes:
        features: (1, C, h, w), on the network's device.
        crop_box: x0 y0 x1 y1 in pixels of the image, far edges exclusive; the first embedding's is the whole image.
        layer: crop layer, 0 for the whole image.
        input_size: (height, width) of the resized crop inside the padded square that was encoded.
        image_size: (height, width) of the whole image.
    """

    features: torch.Tensor
    crop_box: tuple[int, int, int, int]
    layer: int
    input_size: tuple[int, int]
    image_size: tuple[int, int]

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of the crop box."""
        x0, y0, x1, y1 = self.crop_box
        return y1 - y0, x1 - x0


@torch.no_grad()
def embed(
    net: Sam,
    image: NDArray[np.uint8],
    counters: Counters,
    crop_n_layers: int = 0,
    crop_overlap_ratio: float = 512 / 1500,
) -> list[Embedding]:
    """Encode the whole image and, layer by layer, its crop boxes.

    Args:
        image: uint8 (H, W, 3) in the network's colour order.
        crop_n_layers: layer i adds (2**i)**2 overlapping crop boxes.
        crop_overlap_ratio: overlap of the first layer's crops, as a share of the short side.

    Returns:
        One embedding per crop box, the whole image first; that one serves promptable mode too.
    """
    height, width = image.shape[:2]
    boxes, layers = generate_crop_boxes((height, width), crop_n_layers, crop_overlap_ratio)
    resize = ResizeLongestSide(net.image_encoder.img_size)
    embeddings = []
    for (x0, y0, x1, y1), layer in zip(boxes, layers, strict=True):
        resized = resize.apply_image(image[y0:y1, x0:x1, :])
        pixels = torch.as_tensor(resized, device=net.device).permute(2, 0, 1).contiguous()[None]
        features = net.image_encoder(net.preprocess(pixels))
        counters.encoder_calls += 1
        embeddings.append(Embedding(features, (x0, y0, x1, y1), layer, resized.shape[:2], (height, width)))
    return embeddings


@torch.no_grad()
def decode(
    net: Sam,
    embedding: Embedding,
    multimask: bool,
    points: tuple[torch.Tensor, torch.Tensor] | None = None,
    boxes: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode prompts, or the network's default embedding where there is none.

    Args:
        multimask: three masks per prompt (tokens 1 to 3) instead of one (token 0).
        points: coordinates (P, n, 2) in the frame of the encoded square, and their labels (P, n).
        boxes: (P, 4) in the same frame.

    Returns:
        Low-resolution logits (P, 3 or 1, h, w) and predicted IoU (P, 3 or 1).
    """
    sparse, dense = net.prompt_encoder(points=points, boxes=boxes, masks=None)
    low, predicted_iou = net.mask_decoder(
        image_embeddings=embedding.features,
        image_pe=net.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )
    return low, predicted_iou


def upscale(net: Sam, low: torch.Tensor, embedding: Embedding) -> torch.Tensor:
    """Low-resolution logits (A, B, h, w) at the size of the embedding's crop box."""
    logits: torch.Tensor = net.postprocess_masks(low, embedding.input_size, embedding.crop_size)
    return logits
