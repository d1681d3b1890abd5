"""The next case is read while this one is computed, and a fault stays with its case."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from salip_exp.data.case import Case, CaseRef, failing
from salip_exp.data.loading import read_ahead
from salip_exp.errors import CaseError


def case_of(name: str) -> Case:
    return Case(name, "fake", "all", np.zeros((4, 4, 3), np.uint8), None, None, name)


def ref_of(name: str, load) -> CaseRef:
    return CaseRef(name, "all", name, load)


def test_the_next_case_is_read_meanwhile_and_no_further():
    begun = [threading.Event() for _ in range(4)]

    def load(number: int):
        def loaded() -> Case:
            begun[number].set()
            return case_of(str(number))

        return loaded

    reading = read_ahead([ref_of(str(n), load(n)) for n in range(4)])
    for number, (ref, wait) in enumerate(reading):
        assert wait().case.case_id == ref.case_id == str(number)
        if number < 3:
            assert begun[number + 1].wait(10)
        assert not any(each.is_set() for each in begun[number + 2 :])


def test_a_case_that_cannot_be_read_fails_alone():
    refs = [
        ref_of("a", lambda: case_of("a")),
        ref_of("b", failing(CaseError("E_READ", "b is torn"))),
        ref_of("c", lambda: case_of("c")),
    ]
    seen = []
    for ref, wait in read_ahead(refs):
        try:
            seen.append(wait().case.case_id)
        except CaseError as error:
            seen.append(f"{ref.case_id}: {error.code}")
    assert seen == ["a", "b: E_READ", "c"]


def test_stopping_early_ends_the_reader():
    for _, wait in read_ahead([ref_of(str(n), lambda: case_of("x")) for n in range(50)]):
        assert wait().seconds >= 0
        break
    assert not any(thread.name.startswith("reader") for thread in threading.enumerate())


def test_nothing_to_read_is_nothing():
    assert list(read_ahead([])) == []


@pytest.mark.parametrize("count", [1, 2])
def test_every_reference_comes_once(count):
    refs = [ref_of(str(n), lambda: case_of("x")) for n in range(count)]
    assert [ref.case_id for ref, _ in read_ahead(refs)] == [str(n) for n in range(count)]
