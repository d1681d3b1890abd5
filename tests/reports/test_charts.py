"""Charts of pages: axes that show what there is, and small however many cases there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._reports.charts import axis, distribution, plot

ESTIMATE = {"mean": 0.97, "low": 0.16, "high": 0.99}


@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=50))
def test_an_axis_goes_from_low_to_high_by_whole_steps_and_not_beyond_what_can_be(values: list[float]) -> None:
    found = axis(values, 0.0, 1.0)
    assert 0 <= found.low < found.high <= 1
    assert all(0 <= found.share(each) <= 1 for each in values)
    assert 1 <= len(list(found.ticks())) < 20


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([0.951, 0.988, 0.972, 0.965], (0.95, 0.99)),
        ([0.02, 0.971, 0.972, 0.973, 0.974, 0.975, 0.976], (0.97, 0.976)),
        ([0.0, 0.1, 0.9, 0.95], (0.0, 1.0)),
    ],
)
def test_an_axis_shows_where_the_values_are(values: list[float], ends: tuple[float, float]) -> None:
    found = axis(values, 0.0, 1.0)
    assert (found.low, found.high) == pytest.approx(ends)


def test_a_score_below_the_axis_is_counted_at_its_end() -> None:
    scores = [0.02, 0.971, 0.972, 0.973, 0.974, 0.975, 0.976]
    drawn = distribution({"<b>": (scores, ESTIMATE)})
    assert "◂ 1 below" in drawn and drawn.count("<circle") == 6
    assert "&lt;b&gt;" in drawn and "<b>" not in drawn


def test_many_cases_are_a_shape_of_few_bytes() -> None:
    scores = np.random.default_rng(0).beta(8, 2, 54_000).tolist()
    drawn = distribution({"all": (scores, ESTIMATE)})
    assert "<circle" not in drawn and "polygon" in drawn and len(drawn) < 10_000


def test_a_plot_has_a_point_for_each_and_says_what_its_axes_are() -> None:
    up = axis([1.0, 2.0]), "value"
    drawn = plot("risk", "said", (axis([0.0, 1.0]), "x"), up, {"line": [(0, 1), (1, 2)]}, {"best": [(1, 2)]})
    assert 'aria-label="said"' in drawn and ">value</text>" in drawn and ">x</text>" in drawn
    assert drawn.count("<circle") == 1 and drawn.count("<polyline") == 1
