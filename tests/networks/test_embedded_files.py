"""Embedded weights survive their file: float16 on disk, float32 in memory, the text table by trained rows."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from salip_exp.errors import WeightsError
from salip_exp.networks.embedded.files import (
    IDS,
    ROWS,
    TABLE,
    read_clip,
    read_sam,
    save_clip,
    save_sam,
)
from salip_exp.networks.embedded.sums import SUMS, read_sums, write_sums

Nets = tuple[Callable[..., Any], Callable[..., Any]]


def test_sam_comes_back_rounded_to_float16(nets: Nets, tmp_path: Path) -> None:
    net = nets[0]()
    save_sam(net, tmp_path / "sam.safetensors")
    state = read_sam(tmp_path / "sam.safetensors")
    assert state.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor.half().float())


def test_clip_keeps_trained_rows_and_zeroes_the_others(nets: Nets, tmp_path: Path) -> None:
    net, path, ids = nets[1](), tmp_path / "clip.safetensors", torch.tensor([49407, 3, 700])
    save_clip(net, ids, path)
    state = read_clip(path)
    assert state.keys() == net.state_dict().keys()
    table = net.state_dict()[TABLE]
    assert torch.equal(state[TABLE][ids], table[ids].half().float())
    assert int(state[TABLE].any(dim=1).sum()) == 3
    with safe_open(path, "pt") as stored:
        assert TABLE not in stored.keys()  # noqa: SIM118
        assert (stored.get_tensor(IDS).dtype, stored.get_tensor(ROWS).dtype) == (torch.int32, torch.float16)
    assert path.stat().st_size < 500_000


def test_the_same_weights_give_the_same_bytes(nets: Nets, tmp_path: Path) -> None:
    facts = {str(i): "x" for i in range(20)}
    for name in ("a", "b"):
        save_sam(nets[0](), tmp_path / name, facts)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_what_float16_cannot_hold_is_refused_and_the_old_file_stays(nets: Nets, tmp_path: Path, bad: float) -> None:
    path, net = tmp_path / "sam.safetensors", nets[0]()
    path.write_bytes(b"old")
    with torch.no_grad():
        net.mask_decoder.iou_token.weight[0, 0] = bad
    with pytest.raises(ValueError, match=r"mask_decoder.iou_token.weight"):
        save_sam(net, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"old"


@pytest.mark.parametrize("ids", [[1, 1], [-1], [49408], [[1]]])
def test_row_numbers_that_make_no_table_are_refused(nets: Nets, tmp_path: Path, ids: Any) -> None:
    with pytest.raises(ValueError, match="distinct row numbers"):
        save_clip(nets[1](), torch.tensor(ids), tmp_path / "clip.safetensors")


@pytest.mark.parametrize(("rows", "ids"), [(2, [0, 49408]), (2, [-1, 0]), (1, [0, 1])])
def test_a_text_table_that_does_not_fit_is_refused(tmp_path: Path, rows: int, ids: list[int]) -> None:
    path = tmp_path / "clip.safetensors"
    save_file({IDS: torch.tensor(ids, dtype=torch.int32), ROWS: torch.zeros(rows, 4)}, path)
    with pytest.raises(WeightsError, match="does not fit"):
        read_clip(path)


def test_a_sam_file_is_no_clip_file(nets: Nets, tmp_path: Path) -> None:
    save_sam(nets[0](), tmp_path / "sam.safetensors")
    with pytest.raises(WeightsError, match="not a CLIP written by save_clip"):
        read_clip(tmp_path / "sam.safetensors")


@pytest.mark.parametrize("read", [read_sam, read_clip])
@pytest.mark.fault("W1")
def test_w1_truncated_safetensors_is_one_sentence(nets: Nets, tmp_path: Path, read: Callable[[Path], Any]) -> None:
    path = tmp_path / "sam.safetensors"
    save_sam(nets[0](), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read(path)


def test_the_list_of_hashes_is_what_sha256sum_checks(tmp_path: Path) -> None:
    for name in ("sam_tiny.safetensors", "clip_tiny.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    assert read_sums(tmp_path) == {}
    write_sums(tmp_path)
    assert read_sums(tmp_path) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("clip_tiny.safetensors", "sam_tiny.safetensors")
    }
    assert subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=tmp_path).returncode == 0
