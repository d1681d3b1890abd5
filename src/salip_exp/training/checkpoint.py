"""How far a training is, on disk: whole or not there, proven before it is read, and read without running any code."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from salip_exp.errors import EnvironmentFault, WeightsError
from salip_exp.running.files import atomic_write

DIGEST = 32  # bytes of SHA-256 in front of what `torch.save` wrote


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, in one step.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written; the checkpoint before is untouched.
    """
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getvalue()
    atomic_write(path, hashlib.sha256(content).digest() + content)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What was saved last; None where nothing was.

    Raises:
        WeightsError: the file is not what was written.
        EnvironmentFault: it cannot be read.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read ({error.strerror}): get access to it") from error
    digest, content = whole[:DIGEST], whole[DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise WeightsError(f"{path} is damaged: delete it, and the same command trains from the start")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    return state
