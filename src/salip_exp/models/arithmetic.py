"""How networks compute: exactly, or faster on request (bfloat16, compiled), and then named in every record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch

from salip_exp.config import Arithmetic
from salip_exp.models.clip import LoadedClip
from salip_exp.models.sam import LoadedSam
from salip_exp.models.unet import LoadedUnet

Forward = Callable[..., Any]
Network = TypeVar("Network", LoadedSam, LoadedClip, LoadedUnet)


def arithmetic_of(precision: Arithmetic, compiled: bool) -> str:
    """The name under which results are recorded and kept."""
    return f"{precision}{', compiled' if compiled else ''}"


def sped_up(loaded: Network, precision: Arithmetic, compiled: bool) -> Network:
    """The network with its towers computing in bfloat16 and compiled, as asked; fp32, not compiled, changes nothing.

    SAM's prompt encoder stays as it is: positions need full precision. So does CLIP, a small share of the time: its
    scores differ by less between candidates than bfloat16 rounds, and retrieval would take others (`clip.precision`
    has float16 for who wants it). Whatever a tower computes in, it gives float32.
    """
    for tower in _towers(loaded):
        if precision is Arithmetic.bf16 and not isinstance(loaded, LoadedClip):
            tower.forward = _in_bfloat16(tower.forward, loaded.device)
        if compiled:
            tower.compile()
    return replace(loaded, arithmetic=f"{loaded.arithmetic}, {arithmetic_of(precision, compiled)}")


def _towers(loaded: LoadedSam | LoadedClip | LoadedUnet) -> list[Any]:
    net: Any = loaded.net
    if isinstance(loaded, LoadedUnet):
        return [net]
    return [net.image_encoder, net.mask_decoder] if isinstance(loaded, LoadedSam) else [net.visual, net.transformer]


def _in_bfloat16(forward: Forward, device: torch.device) -> Forward:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            result = forward(*args, **kwargs)
        return tuple(map(torch.Tensor.float, result)) if isinstance(result, tuple) else result.float()

    return wrapped
