"""SAM's two halves: an image is encoded once per crop box, and every prompt is decoded from that embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything.utils.amg import generate_crop_boxes
from segment_anything.utils.transforms import ResizeLongestSide
from torch.nn import functional

from salip_exp.cascade.work import Counters, Limits, in_chunks
from salip_exp.networks._sam_of_transformers import SamOfTransformers
from salip_exp.networks.packages import Sam

_CROPS_AT_ONCE = {"cpu": 1, "mps": 1, "cuda": 8}
"""Crop boxes that go through the encoder in one call. A CPU takes one, as the reference does: to the bit."""


class Crop(NamedTuple):
    """A crop box of an image: x0 y0 x1 y1 with exclusive far edges, and its layer (0: the whole image)."""

    box: tuple[int, int, int, int]
    layer: int


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


def crop_plan(
    image_size: tuple[int, int], crop_n_layers: int = 0, crop_overlap_ratio: float = 512 / 1500
) -> list[Crop]:
    """The whole image (height, width), then layer by layer its crop boxes.

    Args:
        crop_n_layers: layer i adds (2**i)**2 overlapping crop boxes.
        crop_overlap_ratio: overlap of the first layer's crops, as a share of the short side.
    """
    boxes, layers = generate_crop_boxes(image_size, crop_n_layers, crop_overlap_ratio)
    return [Crop((x0, y0, x1, y1), layer) for (x0, y0, x1, y1), layer in zip(boxes, layers, strict=True)]


def embed(
    net: Sam,
    image: NDArray[np.uint8],
    counters: Counters,
    crop_n_layers: int = 0,
    crop_overlap_ratio: float = 512 / 1500,
) -> list[Embedding]:
    """Encode the whole image and, layer by layer, its crop boxes (`crop_plan`).

    Args:
        image: uint8 (H, W, 3) in the network's colour order.

    Returns:
        One embedding per crop box, the whole image first; that one serves promptable mode too.
    """
    plan = crop_plan((image.shape[0], image.shape[1]), crop_n_layers, crop_overlap_ratio)
    return embed_crops(net, image, plan, counters)


@torch.no_grad()
def embed_crops(
    net: Sam, image: NDArray[np.uint8], crops: Sequence[Crop], counters: Counters, limits: Limits | None = None
) -> list[Embedding]:
    """Encode the given crop boxes of an image, one embedding for each."""
    limit = (limits or Limits()).crops.fit(_CROPS_AT_ONCE[net.device.type])

    def encode(start: int, stop: int) -> list[Embedding]:
        inputs = [_input(net, image, crop) for crop in crops[start:stop]]
        features = net.image_encoder(torch.cat([pixels for pixels, _ in inputs]))
        counters.encoder_calls += len(inputs)
        size = (image.shape[0], image.shape[1])
        return [
            Embedding(each[None], crop.box, crop.layer, input_size, size)
            for each, crop, (_, input_size) in zip(features, crops[start:stop], inputs, strict=True)
        ]

    return [embedding for part in in_chunks(len(crops), limit, encode) for embedding in part]


def _input(net: Sam, image: NDArray[np.uint8], crop: Crop) -> tuple[torch.Tensor, tuple[int, int]]:
    """A crop box as the encoder takes it, float32 (1, 3, side, side), and its (height, width) inside the padding."""
    x0, y0, x1, y1 = crop.box
    if isinstance(net, SamOfTransformers):
        return net.pixels(Image.fromarray(image[y0:y1, x0:x1])), input_size_of(net, crop)
    resized = ResizeLongestSide(net.image_encoder.img_size).apply_image(image[y0:y1, x0:x1, :])
    pixels = torch.as_tensor(resized, device=net.device).permute(2, 0, 1).contiguous()[None]
    return net.preprocess(pixels), (resized.shape[0], resized.shape[1])


def input_size_of(net: Sam, crop: Crop) -> tuple[int, int]:
    """(height, width) of a crop box inside the padded square that the encoder takes, without encoding it."""
    x0, y0, x1, y1 = crop.box
    height, width = resizing_of(net).get_preprocess_shape(y1 - y0, x1 - x0, net.image_encoder.img_size)
    return height, width


def resizing_of(net: Sam | SamOfTransformers) -> ResizeLongestSide:
    """What brings images, points and boxes to the frame of the encoder."""
    return net.resizing if isinstance(net, SamOfTransformers) else ResizeLongestSide(net.image_encoder.img_size)


@torch.no_grad()
def decode(
    net: Sam,
    embedding: Embedding,
    multimask: bool,
    boxes: torch.Tensor | None = None,
    points: tuple[torch.Tensor, torch.Tensor] | None = None,
    masks: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode boxes, points and masks, or the network's default embedding where there is none.

    Args:
        multimask: three masks per prompt (tokens 1 to 3) instead of one (token 0).
        boxes: (P, 4) in the frame of the encoded square.
        points: (P, N, 2) in that frame, and (P, N) their labels, 1 for the organ and 0 for what is none.
        masks: float32 (P, 1, h, w), logits in that frame, as large as `prompt_encoder.mask_input_size`.

    Returns:
        Low-resolution logits (P, 3 or 1, h, w) and predicted IoU (P, 3 or 1).
    """
    sparse, dense = net.prompt_encoder(points=points, boxes=boxes, masks=masks)
    low, predicted_iou = net.mask_decoder(
        image_embeddings=embedding.features,
        image_pe=net.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )
    return low, predicted_iou


def upscale(net: Sam, low: torch.Tensor, embedding: Embedding) -> torch.Tensor:
    """Low-resolution logits (A, B, h, w) at the size of the embedding's crop box, rounded as the reference rounds.

    `Sam.postprocess_masks` resizes twice: to the encoder's input, then to the crop. Where the two sizes are the same
    the second pass multiplies every pixel by one and its neighbour by zero, and is left out.
    """
    side = net.image_encoder.img_size
    if embedding.input_size == embedding.crop_size:
        height, width = embedding.crop_size
        full = functional.interpolate(low, (side, side), mode="bilinear", align_corners=False)
        return full[..., :height, :width]
    logits: torch.Tensor = net.postprocess_masks(low, embedding.input_size, embedding.crop_size)
    return logits
