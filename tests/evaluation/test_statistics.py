"""A mean has its n and its interval, for any scores; slices of one volume are not independent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm, t

from salip_exp.evaluation.statistics import estimate

SCORES = st.lists(st.none() | st.just(math.nan) | st.floats(0, 1), max_size=12)


def test_figures_worked_out_by_hand():
    found = estimate([0.2, 0.4, 0.9, None])
    assert (found.n, found.missing) == (3, 1)
    assert found.mean == pytest.approx(0.5)
    assert found.sd == pytest.approx(math.sqrt(0.13))
    assert found.low < 0.5 < found.high


def test_two_cases_are_weighted_by_hand():
    """With one weight of three on the bound, and scores of 1, the low end is a quantile of 1 - Beta(1, 2)."""
    found = estimate([1.0, 1.0], resamples=200_000)
    assert found.low == pytest.approx(beta(2, 1).ppf(0.025), abs=0.005)
    assert (found.high, found.interval) == (1, "cases")


def failing_now_and_then(rng, n):
    return np.where(rng.random(n) < 0.05, 0.0, rng.beta(40, 2, n)), 0.95 * 40 / 42


def losing_by_orders_of_magnitude(rng, n):
    """1 - exp(N(m, s)), cut at 0."""
    m, s = -3.5, 1.2
    lost = np.exp(m + s * s / 2) * norm.cdf(-m / s - s) + norm.sf(-m / s)
    return 1 - np.minimum(1, np.exp(rng.normal(m, s, n))), float(1 - lost)


@pytest.mark.parametrize("draw", [failing_now_and_then, losing_by_orders_of_magnitude])
@pytest.mark.parametrize("n", [5, 20, 60])
def test_the_interval_covers_the_mean_of_heavy_tails(draw, n):
    rng = np.random.default_rng(3)
    found = [(estimate(scores.tolist(), resamples=300), mean) for scores, mean in (draw(rng, n) for _ in range(200))]
    assert np.mean([each.low <= mean <= each.high for each, mean in found]) >= 0.93


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_the_interval_covers_the_mean_of_few_volumes_of_any_size(n):
    """A tenth of the volumes fail, and these have fewer slices."""
    rng = np.random.default_rng(4)
    hits = []
    for _ in range(200):
        lost = rng.random(n) < 0.1
        sizes = np.where(lost, 5, 20)
        scores = np.repeat(np.where(lost, 0.3, rng.uniform(0.9, 0.96, n)), sizes)
        found = estimate(scores.tolist(), np.repeat(np.arange(n).astype(str), sizes).tolist(), resamples=300)
        hits.append(found.low <= (0.1 * 5 * 0.3 + 0.9 * 20 * 0.93) / (0.1 * 5 + 0.9 * 20) <= found.high)
    assert np.mean(hits) >= 0.93


def test_many_cases_give_what_a_t_interval_gives():
    scores = np.random.default_rng(5).beta(20, 2, 2000)
    found = estimate(scores.tolist())
    theirs = t.interval(0.95, 1999, scores.mean(), scores.std(ddof=1) / math.sqrt(2000))
    assert (found.low, found.high) == pytest.approx(theirs, abs=0.002)


def test_slices_of_few_volumes_know_less_than_as_many_independent_cases():
    rng = np.random.default_rng(1)
    level = np.repeat(rng.normal(0.8, 0.1, 6), 20)
    scores = list(level + rng.normal(0, 0.01, 120))
    alone, clustered = estimate(scores), estimate(scores, [str(i // 20) for i in range(120)])
    assert clustered.interval == "subjects"
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)
    assert clustered.mean == alone.mean


def test_subjects_of_one_case_each_are_independent_cases():
    scores = list(np.random.default_rng(2).random(50))
    alone, clustered = estimate(scores), estimate(scores, [str(i) for i in range(50)])
    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high), abs=0.02)


@pytest.mark.parametrize(
    ("scores", "clusters", "bounds"),
    [([0.7], None, (0, 1)), ([0.6, 0.8], ["a", "a"], (0, 1)), ([0.6, 0.8], None, None), ([0.1, 1.3], None, (0, 1))],
)
def test_one_case_one_subject_and_no_bounds_give_the_mean_twice_and_say_so(scores, clusters, bounds):
    found = estimate(scores, clusters, bounds=bounds)
    assert (found.low, found.high) == (found.mean, found.mean)
    assert found.mean == pytest.approx(0.7)
    assert found.interval == "none"


@pytest.mark.fault("R7")
def test_no_score_at_all_is_missing_and_not_zero():
    found = estimate([None, math.nan])
    assert (found.n, found.missing) == (0, 2)
    assert found.mean is found.sd is found.low is found.high is None


@given(SCORES, st.booleans())
@pytest.mark.fault("R7")
def test_nothing_is_ever_nan_and_nothing_is_lost(scores, clustered):
    found = estimate(scores, [str(i % 3) for i in range(len(scores))] if clustered else None, resamples=100)
    assert found.n + found.missing == len(scores)
    figures = [each for each in (found.mean, found.sd, found.low, found.high) if each is not None]
    assert all(math.isfinite(each) for each in figures)
    assert found.n == 0 or found.low - 1e-12 <= found.high
    assert found == estimate(scores, [str(i % 3) for i in range(len(scores))] if clustered else None, resamples=100)
