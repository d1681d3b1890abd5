"""The networks of a benchmark: embedded weights, or the official architectures with seeded random weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from blobs import give_blobs

from salip_exp.config import ClipConfig, SamConfig
from salip_exp.networks.clip import LoadedClip, load_clip
from salip_exp.networks.packages import CLIP, Sam, segment_anything
from salip_exp.networks.sam import LoadedSam, load_sam

VARIANTS = ("tiny", "vit_b", "vit_l", "vit_h")
WEIGHTS = ("tiny", "vit_b", "vit_b+vit_l_14")
STAND_IN = "random weights; every network computes in full, but the decoder's masks are replaced by smooth blobs"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Networks:
    """SAM, and CLIP where there is one."""

    sam: LoadedSam
    clip: LoadedClip | None


def load(weights: str, device: torch.device = CPU) -> Networks:
    """The networks of a set of weights."""
    if weights == "tiny":
        return Networks(sam_of("tiny", device), load_clip(ClipConfig(name="tiny"), device, download=False))
    sam = sam_of("vit_b", device)
    if weights == "vit_b":
        return Networks(sam, None)
    return Networks(sam, LoadedClip(frozen(random_clip(), device), "vit_l_14", "random weights, seed 1", device))


def sam_of(variant: str, device: torch.device) -> LoadedSam:
    """SAM with the embedded weights (`tiny`), or an official one with random weights and blobs."""
    if variant == "tiny":
        return load_sam(SamConfig(name="tiny"), device, download=False)
    return LoadedSam(frozen(random_sam(variant), device), variant, "random weights, seed 0, blobs", device)


def random_sam(variant: str) -> Sam:
    """An official SAM with random weights whose decoder draws blobs (`blobs`)."""
    torch.manual_seed(0)
    net: Sam = segment_anything.sam_model_registry[variant]()
    give_blobs(net)
    return net


def random_clip() -> CLIP:
    """CLIP ViT-L/14 with random weights."""
    torch.manual_seed(1)
    return CLIP(
        embed_dim=768,
        image_resolution=224,
        vision_layers=24,
        vision_width=1024,
        vision_patch_size=14,
        context_length=77,
        vocab_size=49408,
        transformer_width=768,
        transformer_heads=12,
        transformer_layers=12,
    )


def frozen(net: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """In evaluation mode, without gradients, on the device."""
    return net.eval().requires_grad_(False).to(device)
