"""What training holds of a data set: every labelled case once, at the input side, and a count of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from salip_exp._training.data import read_examples
from salip_exp.data.case import Case, CaseRef, failing
from salip_exp.errors import CaseError, DataError, TooManyFailures


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
    with pytest.raises(DataError, match="none of 1 images has a target"):
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
