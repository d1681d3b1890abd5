"""A mean has its n and its interval, for any scores; slices of one volume are not independent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.evaluation.statistics import estimate

SCORES = st.lists(st.none() | st.just(math.nan) | st.floats(0, 1), max_size=12)


def test_figures_worked_out_by_hand():
    found = estimate([0.2, 0.4, 0.9, None])
    assert (found.n, found.missing) == (3, 1)
    assert found.mean == pytest.approx(0.5)
    assert found.sd == pytest.approx(math.sqrt(0.13))
    assert found.low < 0.5 < found.high


def test_the_interval_is_scipys_bca():
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).beta(8, 2, 40)
    theirs = bootstrap((values,), np.mean, n_resamples=500, method="BCa", rng=np.random.default_rng(7))
    ours = estimate(list(values), resamples=500, seed=7)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval))
    assert ours.interval == "bca"


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = [
        (found := estimate(list(rng.normal(0.5, 0.1, 30)), resamples=300)).low <= 0.5 <= found.high for _ in range(100)
    ]
    assert 85 <= sum(hits) <= 100


def test_slices_of_few_volumes_know_less_than_as_many_independent_cases():
    rng = np.random.default_rng(1)
    level = np.repeat(rng.normal(0.8, 0.1, 6), 20)
    scores = list(level + rng.normal(0, 0.01, 120))
    alone, clustered = estimate(scores), estimate(scores, [str(i // 20) for i in range(120)])
    assert clustered.interval == "clusters"
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)
    assert clustered.mean == alone.mean


def test_a_cluster_of_one_case_each_is_a_plain_bootstrap():
    scores = list(np.random.default_rng(2).random(50))
    alone, clustered = estimate(scores), estimate(scores, [str(i) for i in range(50)])
    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high), abs=0.02)


@pytest.mark.parametrize(
    ("scores", "clusters"), [([0.7], None), ([0.7] * 9, None), ([0.7] * 4, list("aabb")), ([0.6, 0.8], ["a", "a"])]
)
def test_what_cannot_vary_gives_its_mean_twice_and_says_so(scores, clusters):
    found = estimate(scores, clusters)
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
