"""CLIP, official, embedded or of a library, from proven weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from salip_exp.config import ClipConfig, Precision
from salip_exp.errors import ConfigError, WeightsError
from salip_exp.networks import _checkpoint as checkpoint
from salip_exp.networks import registry, weights
from salip_exp.networks._clip_of_transformers import build_transformers, transformers_words
from salip_exp.networks._embedded import networks as files
from salip_exp.networks._hub import OPEN_CLIP, Folder, located
from salip_exp.networks._library_clip import LibraryClip, Words
from salip_exp.networks._open_clip import build_open_clip, open_clip_words
from salip_exp.networks.packages import CLIP, build_model
from salip_exp.networks.registry import Entry

_PATCHES = "visual.conv1.weight"
_POSITIONS = "visual.positional_embedding"
_BLOCK = "visual.transformer.resblocks."


class LoadedClip(checkpoint.LoadedNetwork[CLIP | LibraryClip]):
    """A CLIP ready for inference."""

    @property
    def logit(self) -> tuple[float, float] | None:
        """What makes the network's own logit of a cosine: the factor, and what is added (by a sigmoid loss).

        None of a network that compares no embeddings.
        """
        net: Any = self.net.net if isinstance(self.net, LibraryClip) else self.net
        net = getattr(net, "clip", net)  # CLIPSeg has its CLIP inside
        if hasattr(net, "temperature"):  # ALIGN divides by what others multiply with
            return 1 / float(net.temperature), 0.0
        if not hasattr(net, "logit_scale"):
            return None
        bias = getattr(net, "logit_bias", None)
        return float(net.logit_scale.exp()), 0.0 if bias is None else float(bias)


def load_clip(config: ClipConfig, device: torch.device, download: bool) -> LoadedClip:
    """Find or fetch the configured weights, prove and read them, and build the network around them.

    Official files are TorchScript archives; a plain state dict (`torch.save`) registered by its hash is taken too.
    The network is made by the clip package's own `build_model`, which rounds what it computes with to float16 as
    the official files are stored, and then runs in the configured precision on every device.

    Args:
        config: `name`, and `weights` with `sha256` for a file of the user's.
        device: where the network is to run.
        download: whether absent official weights may be fetched.

    Raises:
        ConfigError: unknown name, or a bad hash.
        WeightsError: absent, damaged, unverified, of another variant, or no CLIP weights at all.
        EnvironmentFault: the cache cannot be written.
    """
    entry = registry.find("clip", config.name, config.weights, config.sha256)
    if entry.folder:
        entry = located(entry, download)
        read = _of_library(entry, config.precision)
        return LoadedClip(checkpoint.frozen(read).to(device), entry.name, entry.sha256, device, file=entry.label)
    state = read_clip(entry, weights.obtain(entry, download))
    net = _build(state, entry, config.precision)
    frozen = checkpoint.frozen(net).to(device)
    return LoadedClip(frozen, entry.name, entry.sha256, device, str(config.precision), entry.label)


def _of_library(entry: Entry, precision: Precision) -> LibraryClip:
    if precision is not Precision.float32:
        raise ConfigError(
            f"clip.precision={precision} is how OpenAI's CLIP computes, which preset=paper wants: {entry.option} takes "
            "clip.precision=float32"
        )
    return checkpoint.of_library(entry, _build_by_library)


def _build_by_library(entry: Entry, folder: Folder) -> LibraryClip:
    return (build_open_clip if _of_open_clip(folder) else build_transformers)(entry, folder)


def _of_open_clip(folder: Folder) -> bool:
    return folder.config.name == OPEN_CLIP or not (folder.place / "config.json").is_file()


def read_words(entry: Entry) -> Words:
    """How the network of a folder that is on this machine reads a sentence; its weights are not read.

    Raises:
        WeightsError: it is not there, or does not hold together.
        EnvironmentFault: its library is not installed.
    """

    def words(of: Entry, folder: Folder) -> Words:
        return (open_clip_words if _of_open_clip(folder) else transformers_words)(of, folder)

    return checkpoint.by_library(entry, words)


def read_clip(entry: Entry, path: Path) -> checkpoint.State:
    """The tensors of a proven file, if they are of the entry's variant.

    Raises:
        WeightsError: the file cannot be read, or holds another variant, something else, or NaN.
    """
    state = _read(path, entry)
    _require_variant(state, entry)
    checkpoint.require_finite(state, f"{entry.option}: {path}")
    return state


def _read(path: Path, entry: Entry) -> checkpoint.State:
    if entry.embedded:
        return files.read_clip(path)
    read = checkpoint.read_torchscript if checkpoint.is_torchscript(path) else checkpoint.read_state_dict
    return read(path, entry)


def _require_variant(state: checkpoint.State, entry: Entry) -> None:
    patches, positions = state.get(_PATCHES), state.get(_POSITIONS)
    if patches is not None and positions is not None and patches.ndim == 4 and positions.ndim == 2:
        width, patch = patches.shape[0], patches.shape[-1]
        side = patch * round((positions.shape[0] - 1) ** 0.5)
        described = f"a CLIP of vision width {width}, patch {patch}, input {side}"
        checkpoint.require_shape(*checkpoint.with_depth((width, patch, side), described, state, _BLOCK, entry), entry)
    else:
        other = "SAM weights" if any(name.startswith("image_encoder.") for name in state) else "no CLIP transformer"
        checkpoint.require_shape(None, other, entry)


def _build(state: checkpoint.State, entry: Entry, precision: Precision) -> CLIP:
    try:
        net: CLIP = build_model(state)
    except RuntimeError as fault:
        raise checkpoint.misfit(entry, fault) from fault
    except (KeyError, IndexError) as fault:
        raise WeightsError(
            f"{entry.option}: {entry.path or entry.file} lacks {fault} of a CLIP; give a whole state dict"
        ) from fault
    # `build_model` rounds to float16, which ends at 65,504.
    checkpoint.require_finite(net.state_dict(), f"{entry.option}: {entry.path or entry.file} in float16")
    return net if precision is Precision.float16 else net.float()
