"""What training holds of a data set, and who trains and who is scored: whole subjects, every group, by the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._training.data import PARTS, held_out, read_examples, split_cases
from salip_exp.data.case import Case, CaseRef, Dataset, failing
from salip_exp.errors import CaseError, ConfigError, DataError, TooManyFailures


def refs_of(*subjects: tuple[str, str, int]) -> list[CaseRef]:
    """Cases of (subject, group, number of cases)."""
    return [
        CaseRef(f"{name}/{i}", group, name, lambda: pytest.fail("a split reads no image"))
        for name, group, count in subjects
        for i in range(count)
    ]


SUBJECTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), min_size=3, max_size=40).map(
    lambda drawn: refs_of(*((f"s{i}", group, count) for i, (group, count) in enumerate(drawn)))
)
SHARES = st.sampled_from([(0.15, 0.2), (0.1, 0.1), (0.3, 0.3), (0.05, 0.5)])


@given(SUBJECTS, SHARES, st.integers(0, 2**32 - 1))
def test_every_case_is_in_one_part_and_no_subject_in_two(refs, shares, seed) -> None:
    split = split_cases(refs, *shares, seed)
    parts = [getattr(split, name) for name in PARTS]
    assert sorted(ref.case_id for part in parts for ref in part) == sorted(ref.case_id for ref in refs)
    subjects = [{ref.subject for ref in part} for part in parts]
    assert all(subjects)
    assert sum(map(len, subjects)) == len(set.union(*subjects))
    assert set(split.seen) == subjects[0] | subjects[1]


@given(SUBJECTS, SHARES, st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_seed_decides_and_not_the_order_of_the_cases(refs, shares, seed, random) -> None:
    shuffled = random.sample(refs, len(refs))
    one, other = (split_cases(each, *shares, seed).to_dict() for each in (refs, shuffled))
    for name in PARTS:
        assert one[name]["subjects"] == other[name]["subjects"]


@given(SUBJECTS, SHARES, st.integers(0, 1000))
def test_every_group_that_can_spare_a_subject_is_tested(refs, shares, seed) -> None:
    split = split_cases(refs, *shares, seed)
    tested = {ref.group for ref in split.test}
    for group in {ref.group for ref in refs}:
        if len({ref.subject for ref in refs if ref.group == group}) >= 2:
            assert group in tested


def test_the_shares_are_kept() -> None:
    refs = refs_of(*((f"s{i}", "a" if i < 60 else "b", 1) for i in range(100)))
    split = split_cases(refs, 0.15, 0.2, 7)
    assert [len(split.train), len(split.val), len(split.test)] == [65, 15, 20]
    assert split.to_dict()["test"]["groups"] == {"a": 12, "b": 8}


def test_another_seed_gives_another_split() -> None:
    refs = refs_of(*((f"s{i}", "a", 1) for i in range(40)))
    assert len({tuple(ref.case_id for ref in split_cases(refs, 0.2, 0.2, seed).test) for seed in range(5)}) == 5


def test_two_images_of_a_fetus_stay_together() -> None:
    refs = refs_of(("010", "us", 2), ("011", "us", 1), ("012", "us", 1), ("013", "us", 2))
    split = split_cases(refs, 0.25, 0.25, 0)
    assert sorted(len({ref.subject for ref in getattr(split, name)}) for name in PARTS) == [1, 1, 2]


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_subjects_than_parts_are_refused(count) -> None:
    with pytest.raises(DataError, match=f"{count} subjects cannot be split .* at least 3"):
        split_cases(refs_of(*((f"s{i}", "a", 4) for i in range(count))), 0.15, 0.2, 0)


def test_what_was_trained_on_is_left_out_by_subject_with_its_reason() -> None:
    dataset = Dataset("hc18", refs_of(("010", "us", 2), ("011", "us", 1)), [("x", "no mask")], 4)
    left = held_out(dataset, "hc18", {"010"}, None)
    assert [ref.case_id for ref in left.refs] == ["011/0"]
    assert left.excluded == [("x", "no mask"), ("010/0", "used for training"), ("010/1", "used for training")]


def test_another_data_set_is_scored_whole() -> None:
    dataset = Dataset("xray", refs_of(("010", "us", 2)), (), 2)
    assert held_out(dataset, "hc18", {"010"}, None) is dataset


def test_a_list_of_ids_that_asks_for_training_cases_is_refused() -> None:
    dataset = Dataset("hc18", refs_of(("010", "us", 2), ("011", "us", 1)), (), 3)
    with pytest.raises(ConfigError, match=r"subset=ids.txt holds 2 images that the U-Net was trained on \(010/0"):
        held_out(dataset, "hc18", {"010"}, "ids.txt")
    assert len(held_out(dataset, "hc18", {"012"}, "ids.txt").refs) == 3


def test_nothing_left_to_score_is_said() -> None:
    with pytest.raises(DataError, match="hc18: none is left to score beside 2 images that the U-Net was trained on"):
        held_out(Dataset("hc18", refs_of(("010", "us", 2)), (), 2), "hc18", {"010"}, None)


def case_of(name: str, mask: np.ndarray | None) -> Case:
    image = np.full((20, 30, 3), 7, np.uint8)
    image[:, :15] = 200
    return Case(name, "set", "group", image, mask, None, name)


def ref_of(case: Case) -> CaseRef:
    return CaseRef(case.case_id, case.group, case.subject, lambda: case)


@pytest.fixture
def half() -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[:, :15] = True
    return mask


def test_images_and_targets_are_squashed_on_the_same_grid(half) -> None:
    examples = read_examples([ref_of(case_of("a", half))], 16, 0.0)
    assert (examples.images.dtype, tuple(examples.images.shape)) == (torch.uint8, (1, 3, 16, 16))
    assert (examples.targets.dtype, tuple(examples.targets.shape)) == (torch.bool, (1, 1, 16, 16))
    assert torch.equal(examples.targets[0, 0], examples.images[0, 0] > 100)
    assert examples.targets[0, 0].sum() == 8 * 16


def test_cases_without_a_mask_are_left_out_by_name(half) -> None:
    examples = read_examples([ref_of(case_of("a", None)), ref_of(case_of("b", half))], 16, 0.0)
    assert [ref.case_id for ref in examples.refs] == ["b"]
    assert examples.left_out == [("a", "no mask")]


def test_nothing_labelled_is_an_error() -> None:
    with pytest.raises(DataError, match="none of 1 image has a target"):
        read_examples([ref_of(case_of("a", None))], 16, 0.0)


def test_an_unreadable_case_ends_it_unless_some_may_fail(half) -> None:
    good = ref_of(case_of("a", half))
    bad = replace(good, case_id="b", load=failing(CaseError("E_READ", "b.png is half a file")))
    with pytest.raises(TooManyFailures, match=r"1 of 2 images cannot be read .*max_failed=0.0.*b.png is half a file"):
        read_examples([good, bad], 16, 0.0)
    examples = read_examples([good, bad], 16, 0.5)
    assert examples.left_out == [("b", "E_READ: b.png is half a file")]


def test_a_part_has_its_cases_in_their_order(half) -> None:
    masks = [half, ~half, half]
    examples = read_examples([ref_of(case_of(name, mask)) for name, mask in zip("abc", masks, strict=True)], 16, 0.0)
    images, targets = examples.part([examples.refs[1], examples.refs[0]])
    assert torch.equal(targets, examples.targets[[1, 0]])
    assert len(images) == 2


def test_the_hash_is_of_the_data(half) -> None:
    one, same, other = (
        read_examples([ref_of(case_of("a", mask))], side, 0.0).sha256
        for mask, side in ((half, 16), (half, 32), (~half, 16))
    )
    assert one == same != other
