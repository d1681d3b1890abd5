"""Opening any data set: roots, phantoms, what a folder of the wrong kind is told, and which cases a run takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.config import DatasetConfig, MissingMasks
from salip_exp.data import datasets as registry
from salip_exp.data.case import CaseRef, Dataset, failing
from salip_exp.data.datasets import READERS, Listing, choose, gather, open_dataset
from salip_exp.data.paths import natural
from salip_exp.errors import CaseError, DataError

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


def ref(case_id: str, volume: str | None = None) -> CaseRef:
    load = failing(CaseError("E_READ", "never loaded"))
    return CaseRef(case_id, "all", case_id, load, volume=volume)


def settings(**keys: object) -> DatasetConfig:
    return DatasetConfig(name="mine", layout="folder", **keys)  # type: ignore[arg-type]


def ids(found: Listing, seed: int = 1, **keys: object) -> list[str]:
    return [each.case_id for each in choose(found, settings(**keys), seed).refs]


FIVE = Listing([ref(name) for name in "abcde"], excluded=[("z", "no mask")])


def test_without_wishes_all_are_taken() -> None:
    assert ids(FIVE) == list("abcde")


def test_the_limit_takes_the_first(tmp_path: Path) -> None:
    assert ids(FIVE, limit=2) == ["a", "b"] and ids(FIVE, limit=99) == list("abcde")


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_sample_is_a_subset_in_order_and_the_same_for_a_seed(numbers: set[int], size: int, seed: int) -> None:
    found = Listing([ref(str(number)) for number in sorted(numbers)])
    once = ids(found, seed, sample=size)
    assert once == ids(found, seed, sample=size)
    assert len(once) == len(set(once)) == min(size, len(numbers))
    assert set(once) <= {str(number) for number in numbers} and once == sorted(once, key=natural)


def test_another_seed_draws_another_sample() -> None:
    found = Listing([ref(str(number)) for number in range(50)])
    assert ids(found, 1, sample=10) != ids(found, 2, sample=10)


def test_a_subset_is_taken_in_the_order_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\ufeffd\n# a comment\n\n  b \n", "utf-8")
    assert ids(FIVE, subset=str(tmp_path / "ids.txt")) == ["b", "d"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("case_A", "the nearest is 'case_a'"),
        ("z", "'z' cannot be used: no mask"),
        ("qqqqq", "there is no case 'qqqqq'; the nearest is 'case_a'"),
    ],
)
def test_a_subset_that_names_an_unknown_case_says_which(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "ids.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        ids(Listing([ref("case_a")], excluded=[("z", "no mask")]), subset=str(tmp_path / "ids.txt"))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_subset_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="an id a line"):
        ids(FIVE, subset=str(path))


UNMASKED = Listing([ref("a"), ref("c")], [ref("b"), ref("d")])


@pytest.mark.fault("D3")
def test_d3_images_without_masks_are_left_out_by_name_and_counted() -> None:
    dataset = choose(UNMASKED, settings(missing_masks=MissingMasks.exclude), 1)
    assert [each.case_id for each in dataset.refs] == ["a", "c"]
    assert dataset.excluded == [("b", "no mask"), ("d", "no mask")] and dataset.found == 4


@pytest.mark.fault("D3")
def test_d3_images_without_masks_are_an_error_when_that_is_wanted() -> None:
    with pytest.raises(DataError, match=r"2 images have no mask \(b, d\)"):
        ids(UNMASKED, missing_masks=MissingMasks.error)


def test_images_without_masks_are_predicted_in_their_place() -> None:
    assert ids(UNMASKED, missing_masks=MissingMasks.predict) == ["a", "b", "c", "d"]


def looked_into(**keys: object) -> int:
    """How many of 20 volumes of 3 slices are looked into."""
    seen = []

    def refs_of(name: str, image: Path, mask: Path | None) -> list[CaseRef]:
        seen.append(name)
        return [ref(f"{name}/{number}", name) for number in range(3)]

    here = Path(__file__)
    gather({str(n): here for n in range(20)}, {str(n): here for n in range(20)}, here.parent, settings(**keys), refs_of)
    return len(seen)


@pytest.mark.parametrize(
    ("keys", "number"),
    [
        ({"limit": 6}, 2),
        ({"limit": 7}, 3),
        ({}, 20),
        ({"limit": 6, "subset": "ids.txt"}, 20),
        ({"sample": 2}, 20),
        ({"limit": 6, "missing_masks": MissingMasks.error}, 20),
    ],
)
def test_volumes_past_the_limit_are_not_looked_into(keys: dict[str, object], number: int) -> None:
    assert looked_into(**keys) == number


def test_a_volume_without_slices_is_left_out_by_name() -> None:
    here = Path(__file__)
    found = gather({"v": here}, {"v": here}, here.parent, settings(), lambda *_: [])
    assert [name for name, _ in found.excluded] == ["v"] and "trim_mm" in found.excluded[0][1]


@pytest.mark.fault("D15")
def test_d15_files_outside_the_root_are_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(__file__)
    found = gather({"a": tmp_path / "a.png"}, {}, tmp_path, settings(), lambda *_: pytest.fail("opened"))
    assert found.excluded[0][0] == "a" and found.excluded[0][1].startswith("E_PATH")
