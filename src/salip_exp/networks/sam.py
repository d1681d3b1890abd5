"""SAM, official, embedded or of transformers, from proven weights."""

from __future__ import annotations

from pathlib import Path

import torch

from salip_exp.config import SamConfig
from salip_exp.errors import EnvironmentFault
from salip_exp.networks import _checkpoint as checkpoint
from salip_exp.networks import registry, weights
from salip_exp.networks._embedded import networks as files
from salip_exp.networks._embedded.networks import build_sam
from salip_exp.networks._hub import located
from salip_exp.networks._sam_of_transformers import SamOfTransformers, build_transformers_sam
from salip_exp.networks.packages import Sam, segment_anything
from salip_exp.networks.registry import Entry

_WIDTH_OF = ("image_encoder.patch_embed.proj.weight", "image_encoder.patch_embed.seq.2.c.weight")
"""Of SAM's encoder, and of MobileSAM's."""
_BLOCK = "image_encoder.blocks."


class LoadedSam(checkpoint.LoadedNetwork[Sam | SamOfTransformers]):
    """A SAM ready for inference."""


def load_sam(config: SamConfig, device: torch.device, download: bool) -> LoadedSam:
    """Find or fetch the configured weights, prove and read them, and build the network around them.

    Official weights go through segment_anything's own builders, embedded ones through the package's.

    Args:
        config: `name`, and `weights` with `sha256` for a file of the user's.
        device: where the network is to run.
        download: whether absent official weights may be fetched.

    Raises:
        ConfigError: unknown name, or a bad hash.
        WeightsError: absent, damaged, unverified, of another variant, or no SAM weights at all.
        EnvironmentFault: the cache cannot be written.
    """
    entry = registry.find("sam", config.name, config.weights, config.sha256)
    if entry.folder:
        entry = located(entry, download)
        of_library = checkpoint.of_library(entry, build_transformers_sam)
        return LoadedSam(checkpoint.frozen(of_library).to(device), entry.name, entry.sha256, device, file=entry.label)
    state = read_sam(entry, weights.obtain(entry, download))
    net = _build(state, entry)
    return LoadedSam(checkpoint.frozen(net).to(device), entry.name, entry.sha256, device, file=entry.label)


def read_sam(entry: Entry, path: Path) -> checkpoint.State:
    """The tensors of a proven file, if they are of the entry's variant.

    Raises:
        WeightsError: the file cannot be read, or holds another variant, something else, or NaN.
    """
    state = files.read_sam(path) if entry.embedded else checkpoint.read_state_dict(path, entry)
    _require_variant(state, entry)
    checkpoint.require_finite(state, f"{entry.option}: {path}")
    return state


def _require_variant(state: checkpoint.State, entry: Entry) -> None:
    embedding = next((state[name] for name in _WIDTH_OF if name in state), None)
    if embedding is not None and embedding.ndim == 4:
        width = embedding.shape[0]
        shape, described = checkpoint.with_depth((width,), f"a SAM encoder of width {width}", state, _BLOCK, entry)
        checkpoint.require_shape(shape, described, entry)
    else:
        other = "CLIP weights" if "token_embedding.weight" in state else "no SAM weights"
        checkpoint.require_shape(None, other, entry)


def _mobile_sam() -> Sam:
    """MobileSAM (Zhang et al. 2023, https://arxiv.org/abs/2306.14289): SAM with a TinyViT in its encoder's place."""
    try:
        from kornia.models.tiny_vit import TinyViT
    except ImportError as error:
        raise EnvironmentFault("sam=mobile_sam is built by an extra: pip install 'salip_exp[mobilesam]'") from error
    net: Sam = segment_anything.sam_model_registry["vit_b"]()
    net.image_encoder = TinyViT.from_config("5m", img_size=net.image_encoder.img_size, mobile_sam=True)
    return net


def _build(state: checkpoint.State, entry: Entry) -> Sam:
    builders = {**segment_anything.sam_model_registry, "mobile_sam": _mobile_sam}
    name = entry.name if entry.name in builders else str(registry.named_by_shape("sam", entry.shape))
    net: Sam = build_sam(entry.name) if entry.embedded else builders[name]()
    try:
        net.load_state_dict(state)
    except RuntimeError as fault:
        raise checkpoint.misfit(entry, fault) from fault
    return net
