"""Embedded weights survive their file: float16 on disk, float32 in memory, the text table by trained rows."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from salip_exp.networks._embedded.networks import IDS, ROWS, WORDS, build_sam, read_clip, read_sam
from salip_exp.networks.packages import CLIP, Sam
from salip_exp.networks.registry import SUMS, read_sums
from tools.embedded.files import save_clip, save_sam, write_sums


def test_sam_comes_back_rounded_to_float16(random_sam: Sam, tmp_path: Path) -> None:
    save_sam(random_sam, tmp_path / "sam.safetensors")
    state = read_sam(tmp_path / "sam.safetensors")
    assert state.keys() == random_sam.state_dict().keys()
    for name, tensor in random_sam.state_dict().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor.half().float())


def test_clip_keeps_trained_rows_and_zeroes_the_others(random_clip: CLIP, tmp_path: Path) -> None:
    path, ids = tmp_path / "clip.safetensors", torch.tensor([49407, 3, 700])
    save_clip(random_clip, ids, path)
    state = read_clip(path)
    assert state.keys() == random_clip.state_dict().keys()
    table = random_clip.state_dict()[WORDS]
    assert torch.equal(state[WORDS][ids], table[ids].half().float())
    assert int(state[WORDS].any(dim=1).sum()) == 3
    with safe_open(path, "pt") as stored:
        assert WORDS not in stored.keys()  # noqa: SIM118
        assert (stored.get_tensor(IDS).dtype, stored.get_tensor(ROWS).dtype) == (torch.int32, torch.float16)
    assert path.stat().st_size < table.numel()  # the whole table alone would take twice as much


def test_the_same_weights_give_the_same_bytes(random_sam: Sam, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_sam(random_sam, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_what_float16_cannot_hold_is_refused_and_the_old_file_stays(tmp_path: Path, bad: float) -> None:
    path, net = tmp_path / "sam.safetensors", build_sam()
    path.write_bytes(b"old")
    with torch.no_grad():
        net.mask_decoder.iou_token.weight[0, 0] = bad
    with pytest.raises(ValueError, match=r"mask_decoder.iou_token.weight"):
        save_sam(net, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"old"


@pytest.mark.parametrize("ids", [[1, 1], [-1], [49408], [[1]]])
def test_row_numbers_that_make_no_table_are_refused(random_clip: CLIP, tmp_path: Path, ids: Any) -> None:
    with pytest.raises(ValueError, match="distinct row numbers"):
        save_clip(random_clip, torch.tensor(ids), tmp_path / "clip.safetensors")


def test_the_list_of_hashes_is_what_sha256sum_checks(tmp_path: Path) -> None:
    for name in ("sam_tiny.safetensors", "clip_tiny.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    assert read_sums(tmp_path) == {}
    write_sums(tmp_path)
    assert read_sums(tmp_path) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("clip_tiny.safetensors", "sam_tiny.safetensors")
    }
    assert subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=tmp_path).returncode == 0
