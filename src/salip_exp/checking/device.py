"""Where the networks would run, and whether they fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from salip_exp.checking.finding import Finding, failure, fine, warning
from salip_exp.checking.weights import entry_of, networks_of
from salip_exp.config import Config, Device
from salip_exp.errors import EnvironmentFault, SalipError

AREA = "device"
HEADS = {"vit_b": 12, "vit_l": 16, "vit_h": 16}
TOKENS = 64 * 64
"""Patches of SAM's 1024-pixel input, over which its global attention goes."""
ATTENTION_COPIES = 3  # the product, its bias by position, its softmax
DECODING = 2 * 2**30  # what upscaling holds at a time (cascade.candidates.BYTES)


def device_findings(config: Config) -> Iterator[Finding]:
    """An absent GPU, one that is too small, or official networks on a CPU."""
    if not networks_of(config.method):
        return
    official = [name for name in networks_of(config.method) if getattr(config, name).name != "tiny"]
    if config.device is Device.cpu or (config.device is Device.auto and shutil.which("nvidia-smi") is None):
        why = "device=cpu" if config.device is Device.cpu else "device=auto finds no GPU"
        if official:
            yield warning(
                AREA, f"{why}: official networks take minutes per image on a CPU; device=cuda on another machine"
            )
        else:
            yield fine(AREA, f"{why}: the embedded networks are small enough for a CPU")
        return
    yield from _gpu(config)


def bytes_needed(config: Config) -> int:
    """About what the networks take on a GPU: their weights, the encoder's global attention, and masks being upscaled.

    An estimate from sizes of tensors; where memory runs short a run takes fewer crops, points and masks at a time.
    """
    weights = sum(entry_of(config, network).size or 0 for network in networks_of(config.method))
    attention = ATTENTION_COPIES * 4 * HEADS.get(config.sam.name, 0) * TOKENS**2
    return weights + attention + DECODING


def _gpu(config: Config) -> Iterator[Finding]:
    import torch

    from salip_exp.models.device import pick_device

    try:
        device = pick_device(config.device)
        needed = bytes_needed(config)
    except SalipError as error:
        yield failure(AREA, error)
        return
    if device.type == "cpu":
        yield warning(AREA, "device=auto finds no GPU that PyTorch can use: networks run on the CPU")
        return
    free, total = torch.cuda.mem_get_info()
    said = (
        f"{torch.cuda.get_device_name()}: {_gb(free)} of {_gb(total)} free, "
        f"{config.sam.name} and {config.clip.name} need about {_gb(needed)}"
    )
    if free >= needed:
        yield fine(AREA, said)
    else:
        todo = "end what else uses it, or take a smaller network (sam=vit_b) or device=cpu"
        yield failure(AREA, EnvironmentFault(f"{said}: {todo}"))


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
