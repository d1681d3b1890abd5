"""What the field measures a confidence by, against counting by hand; what is not defined is missing, never NaN."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, spearmanr

from salip_exp.evaluation import risk
from salip_exp.evaluation.risk import MEASURES, detection, kept, reliability, risk_coverage

LEVELS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.8, 1.0])
"""Few values, so that there are ties and cases on the threshold."""
CASES = st.lists(st.tuples(LEVELS, LEVELS), min_size=1, max_size=7)


def values(pairs, **more):
    confidence, dsc = zip(*pairs, strict=True) if pairs else ((), ())
    found = detection(confidence, dsc, resamples=100, **more)
    return {name: figure.value for name, figure in found.measures.items()}


def areas(pairs):
    """Areas under the curve of every order in which no case stands before a more confident one."""
    for order in itertools.permutations(pairs):
        if all(first[0] >= then[0] for first, then in itertools.pairwise(order)):
            risks = [1 - dsc for _, dsc in order]
            yield np.mean([np.mean(risks[: j + 1]) for j in range(len(risks))])


@given(CASES)
def test_aurc_is_the_mean_area_over_all_orders_of_ties(pairs):
    assert values(pairs)["aurc"] == pytest.approx(np.mean(list(areas(pairs))))


@given(CASES)
def test_naurc_is_what_is_gained_of_what_can_be(pairs):
    best = np.mean(list(areas([(dsc, dsc) for _, dsc in pairs])))
    chance = np.mean([1 - dsc for _, dsc in pairs])
    found = values(pairs)
    if chance - best < 1e-9:
        assert found["naurc"] is None
    else:
        assert found["naurc"] == pytest.approx((chance - found["aurc"]) / (chance - best))
        assert found["naurc"] <= 1 + 1e-9


@given(CASES)
def test_auroc_is_what_scipy_counts(pairs):
    poor, good = ([c for c, dsc in pairs if (dsc < 0.8) is low] for low in (True, False))
    if not poor or not good:
        assert values(pairs)["auroc"] is None
    else:
        counted = mannwhitneyu(good, poor).statistic / (len(poor) * len(good))
        assert values(pairs)["auroc"] == pytest.approx(counted)


@given(CASES)
def test_fpr95_is_the_least_of_all_thresholds_that_keep_the_good_ones(pairs):
    poor, good = ([c for c, dsc in pairs if (dsc < 0.8) is low] for low in (True, False))
    if not poor or not good:
        assert values(pairs)["fpr95"] is None
        return
    enough = [t for t in {c for c, _ in pairs} if sum(c >= t for c in good) >= 0.95 * len(good)]
    assert values(pairs)["fpr95"] == pytest.approx(min(sum(c >= t for c in poor) / len(poor) for t in enough))


@given(CASES)
def test_spearman_is_scipys(pairs):
    confidence, dsc = zip(*pairs, strict=True)
    if len(set(confidence)) == 1 or len(set(dsc)) == 1:
        assert values(pairs)["spearman"] is None
    else:
        assert values(pairs)["spearman"] == pytest.approx(spearmanr(confidence, dsc).statistic)


def test_calibration_by_hand():
    """Two bins: 0.9 believed and 0.7 true, twice; 0.1 believed and 0.3 true."""
    found = values([(0.92, 0.6), (0.98, 0.8), (0.12, 0.3)])
    assert found["calibration"] == pytest.approx((abs(1.9 - 1.4) + 0.18) / 3)
    first, second = reliability([0.92, 0.98, 0.12], [0.6, 0.8, 0.3])
    assert (first.n, second.n) == (1, 2)
    assert (second.confidence, second.dsc) == (pytest.approx(0.95), pytest.approx(0.7))


def test_a_margin_is_no_guess_at_the_dsc():
    assert values([(-0.5, 0.4), (1.5, 0.9)])["calibration"] is None
    assert values([(-0.5, 0.4), (1.5, 0.9)])["auroc"] == 1
    assert reliability([-0.5, 1.5], [0.4, 0.9]) == []


@given(st.lists(st.tuples(st.none() | st.just(math.nan) | LEVELS, st.none() | st.just(math.nan) | LEVELS), max_size=9))
def test_all_that_is_missing_is_counted_and_nothing_is_nan(pairs):
    found = detection([c for c, _ in pairs], [dsc for _, dsc in pairs], resamples=100)
    assert found.n + found.missing == len(pairs)
    assert set(found.measures) == set(MEASURES)
    json.dumps(found.to_dict(), allow_nan=False)
    for figure in found.measures.values():
        assert figure.low is None or figure.low <= figure.value <= figure.high


@pytest.mark.parametrize("dsc", [[0.9, 0.95, 1.0], [0.1, 0.5, 0.79], []])
def test_without_failures_or_without_anything_else_there_is_nothing_to_detect(dsc):
    found = detection([0.1, 0.2, 0.3][: len(dsc)], dsc)
    assert [found.measures[name].value for name in ("auroc", "fpr95")] == [None, None]
    assert [found.measures[name].low for name in ("auroc", "fpr95")] == [None, None]


def test_a_confidence_that_knows_nothing_gains_nothing():
    found = values([(0.5, 0.2), (0.5, 0.9), (0.5, 0.6)])
    assert (found["auroc"], found["naurc"], found["spearman"]) == (0.5, pytest.approx(0), None)


def test_a_perfect_order_gains_all_and_a_wrong_one_less_than_nothing():
    dsc = [0.1, 0.5, 0.85, 0.9]
    assert values(list(zip(dsc, dsc, strict=True)))["naurc"] == pytest.approx(1)
    assert values([(1 - each, each) for each in dsc])["naurc"] < 0


@given(CASES.filter(lambda pairs: len({dsc < 0.8 for _, dsc in pairs}) == 2))
def test_weights_count_as_copies_do(pairs):
    """A case of weight 2 is two cases, for all measures but the area, which rests on the order within a tie."""
    twice = values([pairs[0], *pairs])
    confidence, dsc = (np.array(each) for each in zip(*pairs, strict=True))
    weights = np.array([[2.0, *[1.0] * (len(pairs) - 1)]])
    for name in ("auroc", "fpr95", "spearman", "calibration"):
        found = float(MEASURES[name](risk._Cases(confidence, dsc, 0.8), weights)[0])
        assert (None if math.isnan(found) else pytest.approx(found)) == twice[name]


def drawn(rng, n):
    """A seventh fail, and are mostly recognised."""
    good = rng.random(n) > 0.15
    dsc = np.where(good, rng.beta(60, 4, n), rng.beta(2, 3, n) * 0.8)
    return np.where(good, rng.beta(30, 2, n), rng.beta(6, 3, n)), dsc


TRUE = {
    name: each.value for name, each in detection(*drawn(np.random.default_rng(1), 50_000), resamples=1).measures.items()
}


@pytest.mark.parametrize("n", [20, 60])
def test_intervals_cover_what_is_measured_on_many(n):
    rng = np.random.default_rng(2)
    found = [detection(*drawn(rng, n), resamples=200).measures for _ in range(100)]
    for name, true in TRUE.items():
        ends = [each[name] for each in found if each[name].low is not None]
        if n == 20 and name not in ("auroc", "fpr95"):
            assert not ends  # of so few, none that holds what it claims
        else:
            assert np.mean([each.low <= true <= each.high for each in ends]) >= 0.85


def test_slices_of_few_volumes_know_less_than_as_many_cases():
    rng = np.random.default_rng(3)
    confidence, dsc = (np.repeat(each, 5) for each in drawn(rng, 60))
    alone, clustered = detection(confidence, dsc), detection(confidence, dsc, [str(i // 5) for i in range(300)])
    assert (alone.subjects, clustered.subjects) == (None, 60)
    for name in MEASURES:
        one, other = alone.measures[name], clustered.measures[name]
        assert one.value == pytest.approx(other.value)
        assert other.high - other.low > one.high - one.low


def test_the_same_seed_gives_the_same_interval_and_one_subject_none():
    pairs = drawn(np.random.default_rng(4), 60)
    assert detection(*pairs) == detection(*pairs) != detection(*pairs, seed=2)
    assert all(each.low is None for each in detection(*pairs, ["one"] * 60).measures.values())


def test_the_curve_ends_at_all_cases_and_their_mean_risk():
    coverage, risk = risk_coverage([0.9, 0.9, 0.1, 0.5], [1.0, 0.8, 0.2, 0.4])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0.1, 0.1, 0.8 / 3, 0.4])


def test_nine_of_ten_are_kept_and_of_equal_confidence_the_worst():
    found = kept([0.9] * 9 + [0.1], [0.9] * 8 + [0.5, 0.0], 0.9)
    assert (found.n, found.worst, found.mean) == (9, 0.5, pytest.approx(7.7 / 9))
    assert kept([0.5, 0.5], [1.0, 0.2], 0.5).worst == 0.2
