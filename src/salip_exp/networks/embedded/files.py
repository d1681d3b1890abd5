"""Files of the embedded weights: safetensors in float16, the text table stored by its trained rows only.

Written by the training script, read by `models.sam` and `models.clip`; their hashes stand in `SHA256SUMS`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from salip_exp.errors import WeightsError
from salip_exp.files import write_bytes

if TYPE_CHECKING:
    from clip.model import CLIP
    from segment_anything.modeling import Sam


TABLE = "token_embedding.weight"
IDS = "token_embedding.ids"
ROWS = "token_embedding.rows"

State = dict[str, torch.Tensor]


def save_sam(net: Sam, path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write every tensor of a SAM in float16, atomically.

    Args:
        net: the trained network.
        path: file to write.
        facts: what a reader should know, e.g. the recipe's version; kept in the file's header.

    Raises:
        ValueError: a tensor holds NaN, infinity or a number beyond float16.
    """
    _write(path, _halved(net.state_dict()), facts)


def read_sam(path: Path) -> State:
    """The float32 state dict of a file written by `save_sam`.

    Raises:
        WeightsError: the file is absent, damaged or something else.
    """
    return {name: tensor.float() for name, tensor in _read(path).items()}


def save_clip(net: CLIP, ids: torch.Tensor, path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write a CLIP in float16, atomically, with only the trained rows of its text table.

    Args:
        net: the trained network.
        ids: integer (n,), distinct token ids whose rows were trained.
        path: file to write.
        facts: what a reader should know; kept in the file's header.

    Raises:
        ValueError: ids repeat or leave the vocabulary, or a tensor does not fit float16.
    """
    state = net.state_dict()
    table = state.pop(TABLE)
    ids = ids.detach().cpu().to(torch.int64)
    if ids.ndim != 1 or len(torch.unique(ids)) != len(ids) or not bool(((ids >= 0) & (ids < len(table))).all()):
        raise ValueError(f"ids must be distinct row numbers below {len(table)}")
    halved = _halved({**state, ROWS: table.cpu()[ids]})
    _write(path, {**halved, IDS: ids.to(torch.int32)}, facts)


def read_clip(path: Path, vocabulary: int = 49408) -> State:
    """The float32 state dict of a file written by `save_clip`; rows of words never trained are zero.

    Raises:
        WeightsError: the file is absent, damaged or something else.
    """
    state = _read(path)
    if IDS not in state or ROWS not in state:
        raise WeightsError(f"{path} is a safetensors file, but not a CLIP written by save_clip: it has no {IDS}")
    ids, rows = state.pop(IDS).to(torch.int64), state.pop(ROWS).float()
    if ids.shape != rows.shape[:1] or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary):
        raise WeightsError(f"{path}: {IDS} does not fit {ROWS} and a vocabulary of {vocabulary}; train it again")
    table = torch.zeros(vocabulary, rows.shape[1])
    table[ids] = rows
    return {**{name: tensor.float() for name, tensor in state.items()}, TABLE: table}


def _halved(state: Mapping[str, torch.Tensor]) -> State:
    halved = {name: tensor.detach().cpu().to(torch.float16).contiguous() for name, tensor in state.items()}
    unfit = [name for name, tensor in halved.items() if not bool(tensor.isfinite().all())]
    if unfit:
        raise ValueError(f"not finite in float16: {', '.join(unfit)}")
    return halved


def _write(path: Path, state: State, facts: Mapping[str, str] | None) -> None:
    # One header entry: with several, safetensors shuffles them, and the same weights would get another hash.
    header = {"salip_exp": json.dumps({"torch": torch.__version__, **(facts or {})}, sort_keys=True)}
    write_bytes(path, save(state, metadata=header))


def _read(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as fault:
        raise WeightsError(f"{path} cannot be read as safetensors ({fault}); get the file again") from fault
