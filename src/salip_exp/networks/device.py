"""Where and how networks compute: device, arithmetic, and the key of what their answers depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import cv2
import torch

from salip_exp.cache._base import content_key
from salip_exp.config import Arithmetic
from salip_exp.errors import EnvironmentFault
from salip_exp.networks._attention import attend_by_low_rank
from salip_exp.networks._checkpoint import LoadedNetwork
from salip_exp.networks._library_clip import LibraryClip
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam
from salip_exp.networks.unet import LoadedUnet


def use_threads(count: int | None) -> None:
    """Let torch and OpenCV compute on so many threads; None leaves it to them (as many as there are cores)."""
    if count is not None:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)


def pick_device(device: str) -> torch.device:
    """The torch device that a configured name stands for; `auto` is the GPU where there is one.

    Raises:
        EnvironmentFault: PyTorch sees no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if gpus else "cpu")
    chosen = torch.device(device)
    there = {"cuda": gpus > (chosen.index or 0), "mps": torch.backends.mps.is_available()}
    if not there.get(chosen.type, True):
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build for the CPU only"
        seen = f"{gpus or 'no'} CUDA GPU{'s' * (gpus > 1)}" if chosen.type == "cuda" else "no GPU of Apple's"
        raise EnvironmentFault(
            f"device={device}: PyTorch {torch.__version__} ({build}) sees {seen} on this machine; "
            "use device=cpu or device=auto"
        )
    return chosen


def network_key(loaded: LoadedNetwork[Any]) -> str:
    """Key of weights, arithmetic, and the kind of machine.

    A CPU rounds by its vector instructions, and on one thread by other kernels than on several (how many does not
    matter: measured with 2, 4 and 8); a GPU rounds by its model.
    """
    if loaded.device.type == "cuda":
        machine = torch.cuda.get_device_name(loaded.device)
    else:
        threads = "one thread" if torch.get_num_threads() == 1 else "several threads"
        machine = f"{torch.backends.cpu.get_cpu_capability()}, {threads}"
    return content_key(loaded.sha256, loaded.arithmetic, loaded.device.type, machine, torch.__version__)


_Forward = Callable[..., Any]
Network = TypeVar("Network", LoadedSam, LoadedClip, LoadedUnet)


def arithmetic_of(precision: Arithmetic, compiled: bool) -> str:
    """The name under which results are recorded and kept."""
    return f"{precision}{', compiled' if compiled else ''}"


def sped_up(loaded: Network, precision: Arithmetic, compiled: bool) -> Network:
    """The network with its towers computing in bfloat16 and compiled, as asked; fp32, not compiled, changes nothing.

    SAM's prompt encoder stays as it is: positions need full precision. So does CLIP, a small share of the time: its
    scores differ by less between candidates than bfloat16 rounds, and retrieval would take others (`clip.precision`
    has float16 for who wants it). Whatever a tower computes in, it gives float32. On a GPU SAM's encoder in bfloat16
    attends by a flash kernel (`networks._attention`); exact mode, and a CPU, which gains nothing, keep the public path.
    """
    how = arithmetic_of(precision, compiled)
    if precision is Arithmetic.bf16 and isinstance(loaded, LoadedSam) and loaded.device.type == "cuda":
        attend_by_low_rank(loaded.net)
        how += ", low rank"
    for tower in _towers(loaded):
        if precision is Arithmetic.bf16 and not isinstance(loaded, LoadedClip):
            tower.forward = _in_bfloat16(tower.forward, loaded.device)
        if compiled:
            tower.compile()
    return replace(loaded, arithmetic=f"{loaded.arithmetic}, {how}")


def _towers(loaded: LoadedSam | LoadedClip | LoadedUnet) -> list[Any]:
    net: Any = loaded.net
    if isinstance(loaded, LoadedUnet):
        return [net]
    if isinstance(net, LibraryClip):
        return net.towers
    return [net.image_encoder, net.mask_decoder] if isinstance(loaded, LoadedSam) else [net.visual, net.transformer]


def _in_bfloat16(forward: _Forward, device: torch.device) -> _Forward:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            result = forward(*args, **kwargs)
        return tuple(map(torch.Tensor.float, result)) if isinstance(result, tuple) else result.float()

    return wrapped
