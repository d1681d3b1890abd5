"""Reading PyTorch files that were proven by hash, and putting their tensors into a network.

Nothing here runs code from a file: pickles are read with `weights_only`, and TorchScript that nobody
registered gives its tensors only.
"""

from __future__ import annotations

import logging
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from salip_exp._files import TooLarge, open_file
from salip_exp._wording import brief, some
from salip_exp.errors import SalipError, WeightsError
from salip_exp.networks._hub import Folder, read_folder
from salip_exp.networks._torchscript import read_tensors
from salip_exp.networks.registry import Entry, named_by_hash, named_by_shape

State = dict[str, torch.Tensor]
Net = TypeVar("Net", bound=torch.nn.Module)
Built = TypeVar("Built")


_log = logging.getLogger(__name__)

_WRAPPERS = ("model", "state_dict", "model_state_dict", "net")
"""Under which names trainings keep the network, beside optimiser and epoch."""
HEADER = 4 << 20
"""Bytes of the table of contents of a safetensors file; that of a thousand tensors has 100,000."""


def require_small_header(path: Path) -> None:
    """Look at how long a safetensors file says that its table of contents is, before that is read.

    Raises:
        TooLarge: longer than HEADER.
        OSError: the file cannot be read, or is none.
    """
    with open_file(path, sys.maxsize) as stream:
        size = int.from_bytes(stream.read(8), "little")
    if size > HEADER:
        raise TooLarge(f"its table of contents has {size:,} bytes, and {HEADER:,} is the limit")


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of `torch.jit.save`, told by its table of contents alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def read_torchscript(path: Path, entry: Entry) -> State:
    """The tensors of a TorchScript archive, on the CPU.

    `torch.jit.load` runs what an archive holds, so only those of registered hashes are left to it.

    Raises:
        WeightsError: torch cannot read the archive.
    """
    try:
        if named_by_hash(entry.network, entry.sha256) is None:
            return read_tensors(path)
        with warnings.catch_warnings():
            # OpenAI published CLIP in this format; that torch would rather have another is no news to a user.
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated")
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
    except Exception as fault:  # a deserialiser may fail in any way on bytes it does not expect
        raise _unreadable(path, entry, fault) from fault


def read_state_dict(path: Path, entry: Entry) -> State:
    """The tensors of a file of `torch.save(net.state_dict())`, mapped from disk where its format allows.

    Raises:
        WeightsError: TorchScript, a pickle that holds more than tensors, a damaged file, or no plain state dict.
    """
    if is_torchscript(path):
        raise WeightsError(
            f"{entry.option}: {path} is a TorchScript archive, as OpenAI's CLIP files are, not a state dict; "
            f"give the file of {entry.file} or one saved by torch.save(net.state_dict())"
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as fault:  # a deserialiser may fail in any way on bytes it does not expect
        raise _unreadable(path, entry, fault) from fault
    state = _unwrapped(state, path, entry)
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise WeightsError(
            f"{entry.option}: {path} holds no plain state dict (names to tensors); "
            "take the state dict out of the training checkpoint and save it with torch.save"
        )
    return state


def _unwrapped(state: Any, path: Path, entry: Entry) -> Any:
    """The state dict in a training's checkpoint, without what wraps it; what was taken off is said in the log."""
    taken = []
    parts = [key for key, value in state.items() if _is_tensors(value)] if isinstance(state, dict) else []
    inner = next((key for key in _WRAPPERS if key in parts), None)
    if inner is not None:
        state = state[inner]
        beside = [str(key) for key in parts if key != inner]
        taken.append(f"what it holds as {inner!r}" + (f" (and not {some(beside)}, beside it)" if beside else ""))
    for prefix in ("module.", "_orig_mod.", "module.", "sam."):  # of DataParallel, of torch.compile, of a class around
        if isinstance(state, dict) and state and all(str(name).startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
            taken.append(f"names without {prefix!r}")
    if taken:
        _log.warning("%s: of %s were taken %s", entry.option, path, ", ".join(taken))
    return state


def _is_tensors(value: Any) -> bool:
    """Whether it is names to tensors, as a network's state is, and an optimiser's or settings are not."""
    return isinstance(value, dict) and bool(value) and all(isinstance(each, torch.Tensor) for each in value.values())


def require_shape(shape: tuple[int, ...] | None, described: str, entry: Entry) -> None:
    """Refuse tensors of another variant before a network is built for them.

    Args:
        shape: what the tensors show, in the terms of `Entry.shape`; None if they are of another network.
        described: the same in words, e.g. `width 1280`.
        entry: what is wanted.

    Raises:
        WeightsError: naming what was asked for and what the file holds.
    """
    if shape == entry.shape:
        return
    name = named_by_shape(entry.network, shape) if shape is not None else None
    holds = f"{entry.network}={name} ({described})" if name else described
    todo = f"use {entry.network}={name}" if name else f"give a file of {entry.file}'s variant"
    raise WeightsError(f"{entry.option} was asked for, but {entry.path or entry.file} holds {holds}; {todo}")


def with_depth(
    shape: tuple[int, ...], described: str, state: State, block: str, entry: Entry
) -> tuple[tuple[int, ...], str]:
    """A shape and its description with the number of blocks, by which alone the sizes of embedded networks differ.

    Args:
        block: what the names of a block's tensors begin with, before its number.
    """
    if not entry.embedded:
        return shape, described
    depth = len({name.removeprefix(block).partition(".")[0] for name in state if name.startswith(block)})
    return (*shape, depth), f"{described}, {depth} blocks"


def require_finite(tensors: Mapping[str, torch.Tensor], named: str) -> None:
    """Refuse weights that are no numbers: a network of them answers with nothing, which would read as a score of zero.

    Args:
        tensors: by name, of any type.
        named: the file, and the option that chose it.

    Raises:
        WeightsError: naming the first tensor that holds NaN or an infinity.
    """
    for name, tensor in tensors.items():
        # One pass without a copy, forty times as fast as `isfinite`: NaN goes through both ends.
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            n = int((~tensor.isfinite()).sum())
            raise WeightsError(
                f"{named}: {n:,} of {tensor.numel():,} values of the tensor {name} are NaN or infinite: the training "
                "that made it went wrong, or the file was damaged before its hash was taken; give another"
            )


def of_library(entry: Entry, build: Callable[[Entry, Folder], Net]) -> Net:
    """The network that a library builds from a located folder.

    Raises:
        EnvironmentFault: the library is not installed.
        WeightsError: it cannot build the network, or its tensors are no numbers.
    """
    net = by_library(entry, build)
    require_finite(net.state_dict(), f"{entry.option}: {read_folder(entry).weights}")
    return net


def by_library(entry: Entry, build: Callable[[Entry, Folder], Built]) -> Built:
    """What a library makes of a located folder; raises what `of_library` raises, but looks at no tensor."""
    folder = read_folder(entry)
    try:
        return build(entry, folder)
    except SalipError:
        raise
    except Exception as fault:  # a library may fail in any way on files that it does not expect
        raise WeightsError(
            f"{entry.option}: the network in {folder.place} cannot be built ({type(fault).__name__}: "
            f"{brief(str(fault))}): get its files again"
        ) from fault


@dataclass(frozen=True)
class LoadedNetwork(Generic[Built]):
    """A network ready for inference, with what tells its answers from those of others: evaluation mode, no gradients.

    Attributes:
        net: the network, on `device`.
        name: registered name of the variant.
        sha256: of the file that the weights were read from.
        device: where it runs.
        arithmetic: how it computes, as `network_key` tells it.
        file: name of that file, or of a folder on the hub with its commit; empty where none was read.
    """

    net: Built
    name: str
    sha256: str
    device: torch.device
    arithmetic: str = "float32"
    file: str = ""


def frozen(net: Net) -> Net:
    """The network in evaluation mode, without gradients."""
    return net.eval().requires_grad_(False)


def misfit(entry: Entry, fault: RuntimeError) -> WeightsError:
    """The error for tensors that have the variant's width but do not fill its network."""
    lines = [line.strip() for line in str(fault).splitlines()[1:]] or [str(fault)]
    return WeightsError(
        f"{entry.option}: the tensors in {entry.path or entry.file} do not fit its network ({_short(lines[0])}); "
        "give weights of the unchanged architecture"
    )


def _unreadable(path: Path, entry: Entry, fault: Exception) -> WeightsError:
    if isinstance(fault, pickle.UnpicklingError):  # torch's own text advises to execute the file
        cause = "it is damaged, or holds more than tensors; save the plain state dict with torch.save"
    else:
        cause = f"{type(fault).__name__}: {_short(str(fault).strip() or 'no reason given')}; copy the file again"
    return WeightsError(
        f"{entry.option}: {path} cannot be read as PyTorch weights, and nothing in it was run ({cause})"
    )


def _short(reason: str, limit: int = 160) -> str:
    line = reason.splitlines()[0]
    return line if len(line) <= limit else f"{line[:limit]}..."
