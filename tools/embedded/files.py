"""Write the embedded weights: safetensors in float16, the text table by its trained rows only, and their hashes.

`salip_exp.networks._embedded.networks` reads them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save

from salip_exp._files import write_bytes
from salip_exp.networks._embedded.networks import IDS, ROWS, WORDS, State
from salip_exp.networks.packages import CLIP, Sam
from salip_exp.networks.registry import SUMS


def save_sam(net: Sam, path: Path) -> None:
    """Write every tensor of a SAM in float16, atomically.

    Args:
        net: the trained network.
        path: file to write.

    Raises:
        ValueError: a tensor holds NaN, infinity or a number beyond float16.
    """
    _write(path, _halved(net.state_dict()))


def save_clip(net: CLIP, ids: torch.Tensor, path: Path) -> None:
    """Write a CLIP in float16, atomically, with only the trained rows of its text table.

    Args:
        net: the trained network.
        ids: integer (n,), distinct token ids whose rows were trained.
        path: file to write.

    Raises:
        ValueError: ids repeat or leave the vocabulary, or a tensor does not fit float16.
    """
    state = net.state_dict()
    table = state.pop(WORDS)
    ids = ids.detach().cpu().to(torch.int64)
    if ids.ndim != 1 or len(torch.unique(ids)) != len(ids) or not bool(((ids >= 0) & (ids < len(table))).all()):
        raise ValueError(f"ids must be distinct row numbers below {len(table)}")
    halved = _halved({**state, ROWS: table.cpu()[ids]})
    _write(path, {**halved, IDS: ids.to(torch.int32)})


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS` over all safetensors files of a folder, in the format of `sha256sum`, atomically."""
    files = sorted(folder.glob("*.safetensors"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    write_bytes(folder / SUMS, "".join(lines).encode())


def _halved(state: State) -> State:
    halved = {name: tensor.detach().cpu().to(torch.float16).contiguous() for name, tensor in state.items()}
    unfit = [name for name, tensor in halved.items() if not bool(tensor.isfinite().all())]
    if unfit:
        raise ValueError(f"not finite in float16: {', '.join(unfit)}")
    return halved


def _write(path: Path, state: State) -> None:
    # One header entry: with several, safetensors shuffles them, and the same weights would get another hash.
    header = {"salip_exp": json.dumps({"torch": torch.__version__})}
    write_bytes(path, save(state, metadata=header))
