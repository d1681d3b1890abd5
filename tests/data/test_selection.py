"""Which of the found cases a run takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.config import DatasetConfig, MissingMasks
from salip_exp.data.case import CaseRef, failing
from salip_exp.data.datasets import Found, choose, gather
from salip_exp.data.paths import natural
from salip_exp.errors import CaseError, DataError


def ref(case_id: str, volume: str | None = None) -> CaseRef:
    load = failing(CaseError("E_READ", "never loaded"))
    return CaseRef(case_id, "all", case_id, load, volume=volume)


def settings(**keys: object) -> DatasetConfig:
    return DatasetConfig(name="mine", layout="folder", **keys)  # type: ignore[arg-type]


def ids(found: Found, seed: int = 1, **keys: object) -> list[str]:
    return [each.case_id for each in choose(found, settings(**keys), seed).refs]


FIVE = Found([ref(name) for name in "abcde"], excluded=[("z", "no mask")])


def test_without_wishes_all_are_taken() -> None:
    assert ids(FIVE) == list("abcde")


def test_the_limit_takes_the_first(tmp_path: Path) -> None:
    assert ids(FIVE, limit=2) == ["a", "b"] and ids(FIVE, limit=99) == list("abcde")


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_sample_is_a_subset_in_order_and_the_same_for_a_seed(numbers: set[int], size: int, seed: int) -> None:
    found = Found([ref(str(number)) for number in sorted(numbers)])
    once = ids(found, seed, sample=size)
    assert once == ids(found, seed, sample=size)
    assert len(once) == len(set(once)) == min(size, len(numbers))
    assert set(once) <= {str(number) for number in numbers} and once == sorted(once, key=natural)


def test_another_seed_draws_another_sample() -> None:
    found = Found([ref(str(number)) for number in range(50)])
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
        ids(Found([ref("case_a")], excluded=[("z", "no mask")]), subset=str(tmp_path / "ids.txt"))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_subset_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="an id a line"):
        ids(FIVE, subset=str(path))


UNMASKED = Found([ref("a"), ref("c")], [ref("b"), ref("d")])


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
