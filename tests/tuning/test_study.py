"""The tuning images: of every group in turn, the same for the same seed, with a target where one is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._tuning.study import draw, order
from salip_exp.data.case import Case, CaseRef, failing
from salip_exp.errors import CaseError, DataError


def ids_of(cases: tuple[Case, ...]) -> list[str]:
    return [case.case_id for case in cases]


def refs(groups: list[str]) -> list[CaseRef]:
    return [CaseRef(f"case {i}", group, str(i), failing(CaseError("E_READ", "none"))) for i, group in enumerate(groups)]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40), st.integers(0, 1000), st.data())
def test_no_group_is_ahead_of_another_by_more_than_one(groups: list[str], seed: int, data: st.DataObject) -> None:
    found = order(refs(groups), [seed])
    assert sorted(found) == list(range(len(groups)))
    assert found == order(refs(groups), [seed])
    first = [groups[i] for i in found[: data.draw(st.integers(1, len(groups)))]]
    left = {group for group in groups if groups.count(group) > first.count(group)}
    counts = [first.count(group) for group in set(groups)]
    assert all(first.count(group) >= max(counts) - 1 for group in left)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=30), st.integers(0, 1000))
def test_no_subject_comes_again_before_all_of_its_group_were_there(subjects: list[str], seed: int) -> None:
    some = [replace(ref, subject=subject) for ref, subject in zip(refs(["one"] * len(subjects)), subjects, strict=True)]
    found = [subjects[i] for i in order(some, [seed])]
    assert sorted(found) == sorted(subjects)
    assert len(set(found[: len(set(subjects))])) == len(set(subjects))


def test_five_images_of_three_groups_by_id_in_the_order_of_the_data(stubs) -> None:
    data = stubs.dataset(stubs.cases())
    drawn = draw(data.refs, 5, [1234], labelled=True)
    ids = ids_of(drawn)
    assert ids == sorted(ids)
    assert sorted(np.unique([case.group for case in drawn], return_counts=True)[1]) == [1, 2, 2]
    assert ids_of(draw(data.refs, 5, [1234], labelled=True)) == ids
    assert len({tuple(ids_of(draw(data.refs, 5, [1234, i], labelled=True))) for i in range(10)}) > 5


def test_images_that_cannot_be_read_or_have_no_target_are_not_drawn(stubs) -> None:
    some = stubs.cases()
    some[0], some[1] = replace(some[0], mask=None), replace(some[1], mask=np.zeros((48, 64), bool))
    data = list(stubs.dataset(some).refs)
    data[2] = replace(data[2], load=failing(CaseError("E_READ", "damaged")))
    assert ids_of(draw(data, 6, [0], labelled=True)) == [f"case {i}" for i in range(3, 9)]
    with pytest.raises(DataError, match=r"tuning.images=7 cannot be drawn: there are 6 images with a target among 9"):
        draw(data, 7, [0], labelled=True)
    assert len(draw(data, 8, [0], labelled=False)) == 8
