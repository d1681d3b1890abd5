"""SAM, SAM-HQ, SAM 2 and what of SAM 3 takes prompts, of transformers (extra `transformers`), asked as SAM is."""

from __future__ import annotations

import math
from typing import Any

import torch
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide
from torch.nn import functional

from salip_exp.errors import WeightsError
from salip_exp.networks._hub import Folder, described
from salip_exp.networks._transformers import read_transformers
from salip_exp.networks.packages import Sam
from salip_exp.networks.registry import Entry

_CLASSES = {
    **{"sam": "SamModel", "sam_hq": "SamHQModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"},
    **dict.fromkeys(("sam3", "sam3_video", "sam3_tracker", "sam3_tracker_video"), "Sam3TrackerModel"),
}
"""Of what a description calls its network, the class that answers prompts on one image."""


class Squash(ResizeLongestSide):  # type: ignore[misc]
    """To a square, whatever the proportions, as SAM 2 and SAM 3 have it."""

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """(height, width) of any image of (oldh, oldw)."""
        return long_side_length, long_side_length


class SamOfTransformers(torch.nn.Module):
    """The parts of `segment_anything.Sam` that the cascade asks, around a network of transformers.

    Its features are the library's, of several sizes for all but SAM itself, as one row of numbers for each image.

    Args:
        net: answers prompts on embeddings of images.
        processor: makes pixels of an image.
    """

    mask_threshold = 0.0

    def __init__(self, net: Any, processor: Any) -> None:
        super().__init__()
        longest = processor.size.get("longest_edge")
        side = int(longest or processor.size["height"])
        self.resizing: ResizeLongestSide = (ResizeLongestSide if longest else Squash)(side)
        self.image_encoder, self.mask_decoder = _Encoder(net, side), _Decoder(net)
        self.prompt_encoder = _Prompts(net.config.prompt_encoder_config)
        self.processor = processor

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.parameters()).device

    def pixels(self, picture: Image.Image) -> torch.Tensor:
        """A picture as the encoder takes it, float32 (1, 3, side, side)."""
        seen: torch.Tensor = self.processor(images=picture, return_tensors="pt")["pixel_values"]
        return seen.to(self.device)

    def postprocess_masks(
        self, masks: torch.Tensor, input_size: tuple[int, int], original_size: tuple[int, int]
    ) -> torch.Tensor:
        """Low-resolution logits (A, B, h, w) at the size of the image, as the library's processor gives them."""
        if isinstance(self.resizing, Squash):
            return functional.interpolate(masks, original_size, mode="bilinear", align_corners=False)
        whole: torch.Tensor = Sam.postprocess_masks(self, masks, input_size, original_size)
        return whole


class _Encoder(torch.nn.Module):
    def __init__(self, net: Any, side: int) -> None:
        super().__init__()
        self.net, self.img_size = net, side

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features of each image in one row: of SAM-HQ the embedding and the one map that its decoder reads besides."""
        found = self.net.get_image_embeddings(pixels)
        maps = [found[0], found[1][0]] if isinstance(found, tuple) else found
        return torch.cat([each.flatten(1) for each in (maps if isinstance(maps, list) else [maps])], dim=1)


def _shapes(net: Any) -> list[tuple[int, ...]]:
    """Of the maps of one image, in the order of `_Encoder`."""
    decoder, sizes = net.mask_decoder, net.config.vision_config
    if hasattr(decoder, "conv_s0"):
        channels = decoder.conv_s0.out_channels, decoder.conv_s1.out_channels, net.hidden_dim
        return [(count, *size) for count, size in zip(channels, net.backbone_feature_sizes, strict=True)]
    grid = sizes.image_size // sizes.patch_size
    more = [(grid, grid, sizes.hidden_size)] if sizes.model_type.startswith("sam_hq") else []
    return [(sizes.output_channels, grid, grid), *more]


class _Prompts(torch.nn.Module):
    """Hands prompts on as they are: the library embeds them itself."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.embed_dim = int(settings.hidden_size)
        self.mask_input_size = (4 * (settings.image_size // settings.patch_size),) * 2

    def forward(
        self, points: tuple[torch.Tensor, torch.Tensor] | None, boxes: torch.Tensor | None, masks: torch.Tensor | None
    ) -> tuple[dict[str, torch.Tensor], None]:
        """Points (P, N, 2) with labels (P, N), boxes (P, 4), and a mask (1, 1, h, w), by the library's names."""
        told = {"input_boxes": None if boxes is None else boxes[None].float(), "input_masks": masks}
        if points is not None:
            told |= {"input_points": points[0][None].float(), "input_labels": points[1][None].int()}
        return {name: each for name, each in told.items() if each is not None}, None

    def get_dense_pe(self) -> None:
        """The library adds positions itself."""


class _Decoder(torch.nn.Module):
    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.shapes = net, _shapes(net)

    def forward(
        self,
        image_embeddings: torch.Tensor,
        sparse_prompt_embeddings: dict[str, torch.Tensor],
        multimask_output: bool,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Low-resolution logits (P, 3 or 1, h, w) and predicted IoU (P, 3 or 1) of prompts, or of nothing."""
        parts = image_embeddings.split([math.prod(shape) for shape in self.shapes], dim=1)
        maps = [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        asked: dict[str, Any] = {"image_embeddings": maps if hasattr(self.net.mask_decoder, "conv_s0") else maps[0]}
        if self.net.config.model_type == "sam_hq":
            asked["intermediate_embeddings"] = maps[1:]
        answer = self.net(**asked, **sparse_prompt_embeddings, multimask_output=multimask_output)
        return answer.pred_masks[0], answer.iou_scores[0]


def build_transformers_sam(entry: Entry, folder: Folder) -> SamOfTransformers:
    """The network of a folder, with the processor that came with it.

    Raises:
        EnvironmentFault: the extra is not installed, or too old for the network.
        WeightsError: it is of another kind, or not whole.
        Exception: of any kind, on a folder that does not hold together.
    """
    kind = described(folder.config, entry).get("model_type")
    if kind not in _CLASSES:
        raise WeightsError(
            f"{entry.option}: {folder.config} describes a network of the kind {kind!r}, and SAM's kinds are "
            f"{', '.join(_CLASSES)}"
        )
    return SamOfTransformers(*read_transformers(entry, folder, _CLASSES[kind], "AutoImageProcessor"))
