"""What repair made of flagged cases, and what of the organs is found, worked out by hand."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from salip_exp._experiments._mending import held, mended
from salip_exp._runs.records import CaseRecord


def record(i: int, dsc: float | None, lost: float = 0.0, **more) -> CaseRecord:
    charges = {"prompt": 0.0, "sam": 0.0, "filter": 0.0, "clip": lost} if dsc is not None else {}
    counts = {"pixels_both": 80, "pixels_predicted": 100, "pixels_target": 160, "roi_recall": 0.9}
    kept = {"scores": {"dsc": dsc}, "charges": charges, "work": {"box_decodes": 10}, **counts}
    return CaseRecord("k", "f", f"{i}", "xray", "g", None, None, "salip", "ok", f"s{i}", **(kept | more))


FINE = record(0, 0.9)
BETTER = record(
    1, 0.8, 0.1, repaired="points", before={"dsc": 0.5, "recall": 0.25, "precision": 1.0, "roi_recall": 0.0}
)
WORSE = record(2, 0.5, 0.2, repaired="grid", flag="prompt", before={"dsc": 0.6, "roi_recall": 0.4}, roi_recall=0.3)
SAME = record(3, 0.4, 0.4, flag="text", work={"box_decodes": 40}, roi_recall=0.2)
HIDDEN = record(4, 0.4, 0.4, roi_recall=0.1)


def test_the_gap_to_the_best_choice_is_that_of_flagged_cases_before_repair() -> None:
    found = mended([FINE, BETTER, WORSE, SAME, HIDDEN, record(5, None, flag="text")])
    assert found is not None
    way = (0.9 - 0.5) + (0.7 - 0.6) + (0.8 - 0.4)
    expected = {"flagged": 3, "repaired": 2, "before": 0.5, "after": 1.7 / 3, "best": 0.8, "regained": 0.2 / way}
    expected |= {"better": 1, "worse": 1, "worst": -0.1, "prompts": 20, "others": 10}
    assert asdict(found) == pytest.approx(expected)


def test_a_best_choice_is_never_below_what_was_there_before() -> None:
    found = mended([record(0, 0.6, repaired="union", before={"dsc": 0.7})])
    assert found is not None and (found.best, found.regained, found.others) == (0.7, None, None)


def test_nothing_is_said_where_nothing_was_flagged_or_has_a_target() -> None:
    assert mended([FINE, record(1, None, flag="text")]) is None
    assert held([record(1, 0.0, pixels_target=0, roi_recall=None)]) == {}


def test_what_is_missed_is_counted_before_and_after_with_what_no_flag_told() -> None:
    found = held([FINE, BETTER, WORSE, SAME, HIDDEN])
    assert [*found] == ["before", "after"]
    assert (found["before"].missed, found["before"].unflagged) == (4, 1)
    assert (found["after"].missed, found["after"].unflagged) == (3, 1)
    assert (found["after"].precision, found["after"].recall) == pytest.approx((0.8, 0.5))
    assert found["before"].recall == pytest.approx((0.5 * 3 + 0.25) / 4), "what an older record lacks is left out"
    assert [*held([FINE, SAME])] == ["after"]
