"""The embedded weights in all sizes; a file that cannot be what it should be is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from salip_exp.config import ClipConfig, SamConfig
from salip_exp.errors import WeightsError
from salip_exp.networks._embedded.networks import CLIP_DEPTHS, IDS, ROWS, SAM_DEPTHS, read_clip, read_sam
from salip_exp.networks.clip import load_clip
from salip_exp.networks.registry import EMBEDDED, EMBEDDED_NAMES, read_sums
from salip_exp.networks.sam import load_sam


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


@pytest.mark.parametrize("size", list(SAM_DEPTHS))
def test_every_size_travels_with_the_package_and_is_what_it_is_called(size: str) -> None:
    sam = load_sam(SamConfig(name=size), torch.device("cpu"), download=False)
    clip = load_clip(ClipConfig(name=size), torch.device("cpu"), download=False)
    assert len(sam.net.image_encoder.blocks) == SAM_DEPTHS[size]
    assert len(clip.net.visual.transformer.resblocks) == CLIP_DEPTHS[size]
    assert sam.name == clip.name == size in EMBEDDED_NAMES
    assert sam.sha256 == read_sums(EMBEDDED)[f"sam_{size}.safetensors"]


@pytest.mark.parametrize(("network", "load"), [(SamConfig, load_sam), (ClipConfig, load_clip)])
def test_one_size_is_not_taken_for_another(network: Callable[..., Any], load: Callable[..., Any]) -> None:
    kind = "sam" if network is SamConfig else "clip"
    path = EMBEDDED / f"{kind}_small.safetensors"
    given = network(name="tiny", weights=str(path), sha256=read_sums(EMBEDDED)[path.name])
    with pytest.raises(WeightsError, match=f"{kind}=tiny was asked for, but .* holds {kind}=small") as fault:
        load(given, torch.device("cpu"), download=False)
    assert "\n" not in str(fault.value)


def test_all_sizes_together_stay_within_what_a_package_may_weigh() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED.glob("*.safetensors")) < 25e6
