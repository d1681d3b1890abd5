"""What no case is made of: told by reason, and listed by name as far as a reader can follow."""

from __future__ import annotations

import pytest

from salip_exp.data._left_out import LISTED, by_reason, listed


@pytest.mark.fault("B7")
def test_of_a_hundred_thousand_images_the_first_are_listed_and_the_others_counted() -> None:
    found = listed([(f"image {number}", "no mask") for number in range(100_000)])
    assert found["excluded"][-1] == {"case_id": f"image {LISTED - 1}", "reason": "no mask"}
    assert (len(found["excluded"]), found["excluded_more"], found["n_excluded"]) == (LISTED, 100_000 - LISTED, 100_000)
    (told,) = by_reason([(f"image {number}", "no mask") for number in range(100_000)])
    assert len(told.said) < 200 and len(told.to_dict()["names"]) == 20


def test_few_are_listed_whole() -> None:
    assert listed([("a", "no mask")]) == {
        "n_excluded": 1,
        "excluded": [{"case_id": "a", "reason": "no mask"}],
        "excluded_more": 0,
    }
