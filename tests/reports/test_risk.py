"""Risk and coverage for people: one line where there is something to tell apart, a table, and a curve."""

from __future__ import annotations

import re

import pytest

from salip_exp._reports import _risk as risk
from salip_exp._runs.records import CaseRecord
from salip_exp.evaluation.risk import TITLES, detection

TOLD, DSC = [0.9, 0.8, 0.4, 0.7], [0.95, 0.9, 0.3, 0.85]


def summary(dsc: list[float], measure: str = "predicted_iou") -> dict:
    return {"risk": {measure: detection(TOLD, dsc, resamples=100).to_dict()}, "poor_below": 0.8}


def records(dsc: list[float]) -> list[CaseRecord]:
    given = {"dataset": "d", "group": "g", "volume": None, "slice": None, "method": "salip", "status": "ok"}
    return [
        CaseRecord("k", "f", str(i), **given, scores={"dsc": each}, predicted_iou=told)
        for i, (told, each) in enumerate(zip(TOLD, dsc, strict=True))
    ]


def test_one_line_says_what_it_is_worth_where_some_cases_are_poor() -> None:
    (line,) = risk.said(summary(DSC))
    assert re.match(r"predicted IoU against DSC: AUROC 1\.000 \[.*\], nAURC .*, FPR95 0\.000 .* \(1 of 4 cases", line)
    assert line.endswith("below DSC 0.8)")


@pytest.mark.parametrize("told", [{}, {"risk": {}}, summary([0.9, 0.9, 0.85, 1.0]), summary([0.1, 0.2, 0.3, 0.0])])
def test_where_there_is_nothing_to_tell_apart_nothing_is_said(told: dict) -> None:
    assert risk.said(told) == []


def test_rows_have_a_figure_for_each_title_and_the_word_for_what_is_missing() -> None:
    ((name, n, figures),) = risk.rows(summary([0.9, 0.9, 0.85, 1.0]))
    assert (name, n, len(figures)) == ("predicted IoU", "4 (0)", len(TITLES))
    assert figures[0] == "missing"


def test_the_curve_ends_at_the_mean_risk_and_there_is_none_without_a_measure() -> None:
    drawn = risk.curve(records(DSC), summary(DSC))
    assert drawn is not None and drawn.count("<polyline") == 3
    ends = [each.split()[-1] for each in re.findall(r'points="([^"]*)"', drawn)]
    assert len(set(ends)) == 1  # by any order, all cases have the mean risk
    assert risk.curve(records(DSC), {}) is None


def test_perfect_predictions_have_a_curve_too() -> None:
    assert "nan" not in str(risk.curve(records([1.0] * 4), summary([1.0] * 4)))
