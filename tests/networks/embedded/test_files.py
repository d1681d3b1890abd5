"""A file of embedded weights that cannot be what it should be is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from salip_exp.errors import WeightsError
from salip_exp.networks._embedded.networks import IDS, ROWS, read_clip, read_sam


@pytest.mark.parametrize(("rows", "ids"), [(2, [0, 49408]), (2, [-1, 0]), (1, [0, 1])])
def test_a_text_table_that_does_not_fit_is_refused(tmp_path: Path, rows: int, ids: list[int]) -> None:
    path = tmp_path / "clip.safetensors"
    save_file({IDS: torch.tensor(ids, dtype=torch.int32), ROWS: torch.zeros(rows, 4)}, path)
    with pytest.raises(WeightsError, match="does not fit"):
        read_clip(path)


def test_a_sam_file_is_no_clip_file(tmp_path: Path) -> None:
    save_file({"image_encoder.pos_embed": torch.zeros(2)}, tmp_path / "sam.safetensors")
    with pytest.raises(WeightsError, match="not an embedded CLIP"):
        read_clip(tmp_path / "sam.safetensors")


@pytest.mark.parametrize("read", [read_sam, read_clip])
@pytest.mark.fault("W1")
def test_w1_truncated_safetensors_is_one_sentence(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    path = tmp_path / "sam.safetensors"
    save_file({"image_encoder.pos_embed": torch.zeros(20)}, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read(path)
