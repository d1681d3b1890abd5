"""Cases are read once as long as memory has room, and nobody can change what is handed out again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salip_exp.data.case import Case, CaseMemory, CaseRef
from salip_exp.errors import CaseError


class CountingReader:
    """References to two discs that note what is read."""

    def __init__(self, fakes, **changes) -> None:
        self.fakes, self.changes, self.read = fakes, changes, []
        self.refs = [CaseRef(f"c{i}", "all", f"c{i}", lambda i=i: self.load(i)) for i in range(2)]

    def load(self, i: int) -> Case:
        self.read.append(i)
        return replace(self.fakes.make_case(i, f"c{i}"), **self.changes)


def test_what_has_room_is_read_once_and_the_rest_every_time(fakes):
    reader = CountingReader(fakes)
    size = fakes.SIDE**2 * (3 + 1)  # RGB and mask
    for ref in CaseMemory(2 * size - 1).remembering(reader.refs) * 2:
        assert ref.load().case_id == ref.case_id
    assert reader.read == [0, 1, 1]


def test_a_case_without_a_mask_takes_the_room_of_its_image(fakes):
    reader = CountingReader(fakes, mask=None)
    for ref in CaseMemory(2 * 3 * fakes.SIDE**2).remembering(reader.refs) * 2:
        ref.load()
    assert reader.read == [0, 1]


def test_data_sets_share_the_room_and_no_case(fakes):
    one, other = CountingReader(fakes), CountingReader(fakes, dataset="other")
    memory = CaseMemory(fakes.SIDE**2 * (3 + 1))
    first, second = (memory.remembering(reader.refs)[0] for reader in (one, other))
    assert [each.load().dataset for each in (first, second, first, second)] == ["fake", "other"] * 2
    assert (one.read, other.read) == ([0], [0, 0])


def test_what_is_handed_out_again_cannot_be_changed(fakes):
    case = CaseMemory(1 << 20).remembering(CountingReader(fakes).refs)[0].load()
    for array in (case.image, case.mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


def test_a_case_that_cannot_be_read_is_tried_again(fakes):
    answers = [CaseError("E_READ", "gone"), fakes.make_case(0, "c0")]

    def load() -> Case:
        answer = answers.pop(0)
        if isinstance(answer, CaseError):
            raise answer
        return answer

    ref = CaseMemory(1 << 20).remembering([CaseRef("c0", "all", "c0", load)])[0]
    with pytest.raises(CaseError):
        ref.load()
    assert ref.load() is ref.load()
