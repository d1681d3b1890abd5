"""Which trial is taken, by whose scores, and how sure that is."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._settings.tuning import AREA
from salip_exp._tuning.choosing import LOOSER, MARGIN, certainty, choose
from salip_exp._tuning.trials import TrialRow
from salip_exp._tuning.worker import Outcome
from salip_exp.config import Choice

SUBJECTS = {f"image {i}": str(i) for i in range(5)}


def trial(number: int, scores: list[float | None], area: float = 0.5, **values: float) -> TrialRow:
    images = {f"image {i}": {"dsc": score} for i, score in enumerate(scores)}
    return TrialRow(number, {AREA: area, **values}, 0.0, Outcome(images), None, 0.1)


def number_of(trials: list[TrialRow], rule: Choice) -> int:
    found = choose(trials, "dsc", rule)
    assert found is not None
    return found.number


tables = st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=12)


@given(tables, st.data())
def test_the_highest_has_the_highest_mean_and_no_trial_that_is_as_near_is_looser_than_the_robust_one(
    table: list[list[float]], data: st.DataObject
) -> None:
    areas = data.draw(st.lists(st.floats(0.01, 1), min_size=len(table), max_size=len(table)))
    trials = [trial(i, scores, area) for i, (scores, area) in enumerate(zip(table, areas, strict=True))]
    means = [math.fsum(scores) / 5 for scores in table]
    highest, robust = (number_of(trials, rule) for rule in (Choice.highest, Choice.robust))
    assert means[highest] == pytest.approx(max(means), abs=1e-11)
    near = [i for i, mean in enumerate(means) if mean >= max(means) - MARGIN]
    assert areas[robust] >= max(areas[i] for i in near)
    gaps = [mine - other for mine, other in zip(table[highest], table[robust], strict=True)]
    assert statistics.fmean(gaps) <= max(MARGIN, statistics.stdev(gaps) / 5**0.5) + 1e-9
    found = certainty(trials, "dsc", Choice.robust, SUBJECTS, configured_first=True)
    assert 1 <= found.tied <= found.near <= found.of == len(trials)


SAME = [0.9] * 5


def test_of_equals_the_loosest_is_robust_and_the_first_is_the_highest() -> None:
    trials = [
        trial(3, SAME, 0.4, **{"sam.pred_iou_thresh": 0.9}),
        trial(5, SAME, 0.6, **{"sam.pred_iou_thresh": 0.3}),
        trial(7, [0.2] * 5, 0.9, **{"sam.pred_iou_thresh": 0.1}),
    ]
    assert number_of(trials, Choice.highest) == 3
    assert number_of(trials, Choice.robust) == 5
    hidden = [*trials, trial(8, SAME, 0.95, **{"sam.pred_iou_thresh": 0.95})]  # loosest but for one setting
    assert number_of(hidden, Choice.robust) == 5
    assert LOOSER[AREA] == 1 and LOOSER["sam.pred_iou_thresh"] == -1


def test_a_loose_trial_that_is_clearly_worse_is_not_taken_and_a_lucky_strict_one_is_no_reason_against_it() -> None:
    strict, loose = trial(1, [0.9, 0.92, 0.91, 0.9, 0.93], 0.4), trial(2, [0.86, 0.87, 0.87, 0.86, 0.88], 0.9)
    assert number_of([strict, loose], Choice.robust) == 1
    lucky = trial(1, [0.86, 0.87, 0.87, 0.86, 0.98], 0.4)
    assert number_of([lucky, loose], Choice.robust) == 2
    assert number_of([lucky, loose], Choice.highest) == 1


def test_configured_settings_stay_unless_they_are_clearly_beaten_or_among_the_strictest() -> None:
    others = [trial(i, SAME, 0.2 + 0.03 * i) for i in range(1, 25)]

    def taken(scores: list[float], area: float, rule: Choice = Choice.robust) -> int:
        found = choose([trial(0, scores, area), *others], "dsc", rule, configured_first=True)
        assert found is not None
        return found.number

    unlucky = [0.9, 0.9, 0.9, 0.9, 0.6]
    assert taken(SAME, 0.5) == taken(unlucky, 0.5) == 0
    assert taken(SAME, 0.1) == 24
    assert taken([0.5, 0.52, 0.5, 0.51, 0.5], 0.5) == 24
    assert taken(unlucky, 0.5, Choice.highest) == 1


def test_scores_that_are_missing_are_in_no_mean_and_no_score_at_all_is_no_choice() -> None:
    trials = [trial(0, [0.5, None, 0.5, 0.5, 0.5]), trial(1, [0.6, 0.1, 0.6, 0.6, 0.6]), trial(2, [None] * 5)]
    assert number_of(trials, Choice.highest) == 0  # 0.5 on all that it has, the other 0.5 as well: the first
    assert certainty(trials, "dsc", Choice.highest, SUBJECTS, configured_first=False).of == 2
    assert choose(trials[2:], "dsc", Choice.robust) is None
    assert choose([], "dsc", Choice.highest) is None


def test_a_clear_gain_is_told_from_one_that_is_not() -> None:
    bad, good = trial(0, [0.5, 0.6, 0.5, 0.4, 0.5]), trial(1, [0.9, 0.92, 0.9, 0.91, 0.9], 0.6)
    found = certainty([bad, good], "dsc", Choice.robust, SUBJECTS, configured_first=True)
    assert (found.highest, found.tied, found.near, found.keep_default) == (1, 1, 1, False)
    assert found.gain == pytest.approx(0.406)
    assert found.expected == pytest.approx(0.906)
    alike = trial(1, [0.5, 0.6, 0.5, 0.42, 0.5], 0.6)
    assert certainty([bad, alike], "dsc", Choice.highest, SUBJECTS, configured_first=True).keep_default is True
    assert certainty([bad, good], "dsc", Choice.robust, SUBJECTS, configured_first=False).keep_default is None
    one = [trial(0, [0.5]), trial(1, [0.9])]
    alone = certainty(one, "dsc", Choice.highest, SUBJECTS, configured_first=True)
    assert (alone.expected, alone.gain_se, alone.keep_default) == (None, None, False)


def test_what_is_expected_of_others_is_scored_on_subjects_that_did_not_choose() -> None:
    """Trial i fits image i alone: each looks best where it was made, and none is any good elsewhere."""
    trials = [trial(i, [0.9 if i == j else 0.1 for j in range(4)]) for i in range(4)]
    apart = certainty(trials, "dsc", Choice.highest, SUBJECTS, configured_first=False)
    assert apart.expected == pytest.approx(0.1)
    assert apart.parts == 4
    pairs = {"image 0": "a", "image 1": "a", "image 2": "b", "image 3": "b"}
    assert certainty(trials, "dsc", Choice.highest, pairs, configured_first=False).parts == 2
