"""Opening any data set: roots, phantoms, and what a folder of the wrong kind is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salip_exp.config import DatasetConfig
from salip_exp.data import datasets as registry
from salip_exp.data.case import Dataset
from salip_exp.data.datasets import READERS, open_dataset
from salip_exp.errors import DataError

Save = Callable[..., Path]
Configure = Callable[..., DatasetConfig]
Open = Callable[..., Dataset]
NAMES = ["cc359", "hc18", "xray", "folder"]


@pytest.mark.parametrize("name", NAMES)
def test_every_layout_has_a_reader_that_says_what_it_wants(name: str) -> None:
    assert "below dataset.root" in READERS[name].layout


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault("D17")
def test_d17_without_a_root_the_two_ways_to_give_one_are_named(config: Configure, name: str) -> None:
    with pytest.raises(DataError, match=r"dataset\.root=DIR.*SALIP_DATA") as caught:
        open_dataset(config(name), 1)
    assert READERS[name].layout in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("root", ["gone", "~no_such_user_here/x", "n" * 5000])
@pytest.mark.fault("D17")
def test_d17_a_root_that_is_not_there_names_the_layout(tmp_path: Path, opened: Open, name: str, root: str) -> None:
    with pytest.raises(DataError) as caught:
        opened(name, root if root[0] == "~" else tmp_path / root)
    assert READERS[name].layout in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault("D17")
def test_d17_a_folder_of_other_things_names_the_layout(tmp_path: Path, opened: Open, name: str) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(DataError) as caught:
        opened(name, tmp_path)
    assert READERS[name].layout in str(caught.value)


@pytest.mark.fault("D17")
def test_d17_a_data_set_without_any_mask_says_what_to_do(tmp_path: Path, head: Save, opened: Open) -> None:
    head(tmp_path, mask=False)
    with pytest.raises(DataError, match=r"001_HC: no mask \(dataset\.missing_masks=predict"):
        opened("hc18", tmp_path)
    assert len(opened("hc18", tmp_path, "missing_masks=predict").refs) == 1


def test_a_root_may_start_at_home(tmp_path: Path, head: Save, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    head(tmp_path / "scans")
    assert len(opened("hc18", Path("~/scans")).refs) == 1


def test_salip_data_holds_data_sets_by_name(
    tmp_path: Path, head: Save, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    head(tmp_path / "hc18")
    monkeypatch.setenv("SALIP_DATA", str(tmp_path))
    assert len(open_dataset(config("hc18"), 1).refs) == 1


def test_nothing_is_decoded_before_a_case_is_loaded(tmp_path: Path, head: Save, opened: Open) -> None:
    head(tmp_path).write_bytes(b"no picture")
    assert len(opened("hc18", tmp_path).refs) == 1


def test_a_sample_is_drawn_with_the_seed(tmp_path: Path, picture: Save, opened: Open) -> None:
    for number in range(12):
        picture(tmp_path / "images" / f"{number}.png", np.zeros((4, 4), np.uint8))
    first, again, other = (
        [ref.case_id for ref in opened("folder", tmp_path, "sample=5", seed=seed).refs] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_phantoms_are_drawn_only_where_no_root_is_given(
    tmp_path: Path, head: Save, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    head(tmp_path)
    monkeypatch.setattr(registry, "phantom_root", lambda layout, phantom: tmp_path if phantom.n == 60 else None)
    assert len(open_dataset(config("phantom_hc18"), 1).refs) == 1
    monkeypatch.setattr(registry, "phantom_root", lambda *_: pytest.fail("drawn"))
    assert len(open_dataset(config("phantom_hc18", f"root={tmp_path}"), 1).refs) == 1
