"""Read the embedded weights: safetensors in float16, the text table stored by its trained rows only.

`tools/embedded` writes them; their hashes stand in `SHA256SUMS`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from salip_exp.errors import WeightsError

TABLE = "token_embedding.weight"
IDS = "token_embedding.ids"
ROWS = "token_embedding.rows"

State = dict[str, torch.Tensor]


def read_sam(path: Path) -> State:
    """The float32 state dict of the embedded SAM.

    Raises:
        WeightsError: the file is absent, damaged or something else.
    """
    return {name: tensor.float() for name, tensor in _read(path).items()}


def read_clip(path: Path, vocabulary: int = 49408) -> State:
    """The float32 state dict of the embedded CLIP; rows of words never trained are zero.

    Raises:
        WeightsError: the file is absent, damaged or something else.
    """
    state = _read(path)
    if IDS not in state or ROWS not in state:
        raise WeightsError(f"{path} is a safetensors file, but not an embedded CLIP: it has no {IDS}")
    ids, rows = state.pop(IDS).to(torch.int64), state.pop(ROWS).float()
    if ids.shape != rows.shape[:1] or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary):
        raise WeightsError(f"{path}: {IDS} does not fit {ROWS} and a vocabulary of {vocabulary}; train it again")
    table = torch.zeros(vocabulary, rows.shape[1])
    table[ids] = rows
    return {**{name: tensor.float() for name, tensor in state.items()}, TABLE: table}


def _read(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as fault:
        raise WeightsError(f"{path} cannot be read as safetensors ({fault}); get the file again") from fault
