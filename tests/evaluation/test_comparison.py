"""A paired comparison is what scipy says of the differences; Holm's correction is its definition."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kruskal, rankdata, wilcoxon

from salip_exp.evaluation.statistics import _signed_rank, compare, estimate, gap_between, holm

PS = st.lists(st.none() | st.floats(0, 1), max_size=10)
SCORES = st.dictionaries(st.sampled_from("abcdefghij"), st.none() | st.just(math.nan) | st.floats(0, 1))


def scores(values) -> dict[str, float]:
    return {f"case_{i:03d}": float(value) for i, value in enumerate(values)}


def test_the_interval_is_that_of_the_differences_and_p_is_scipys():
    rng = np.random.default_rng(0)
    other = rng.beta(8, 2, 40)
    ours = other + rng.normal(0.02, 0.05, 40)
    found = compare(scores(ours), scores(other), resamples=500)
    differences = ours - other
    assert (found.n, found.pairs) == (40, 40)
    assert found.difference == pytest.approx(differences.mean())
    expected = estimate(list(differences), resamples=500, bounds=(-1, 1))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.p == pytest.approx(wilcoxon(ours, other, zero_method="pratt").pvalue)


def test_only_cases_that_both_have_a_score_of_are_compared():
    found = compare({"a": 0.9, "b": 0.5, "c": None, "d": 0.1}, {"b": 0.4, "a": 0.7, "c": 0.9, "e": 0.2, "d": math.nan})
    assert found.n == 2
    assert found.difference == pytest.approx(0.15)


def test_slices_of_a_volume_are_one_pair_and_are_resampled_together():
    rng = np.random.default_rng(1)
    shift = np.repeat(rng.normal(0.01, 0.05, 6), 20)
    other = rng.beta(8, 2, 120)
    ours = other + shift + rng.normal(0, 0.001, 120)
    volumes = {name: f"v{i // 20}" for i, name in enumerate(scores(ours))}
    alone, together = compare(scores(ours), scores(other)), compare(scores(ours), scores(other), volumes)
    assert (alone.pairs, together.pairs, together.n) == (120, 6, 120)
    assert together.difference == alone.difference
    assert together.high - together.low > 2 * (alone.high - alone.low)
    means = [np.mean(each) for each in np.split(ours - other, 6)]
    assert together.p == pytest.approx(wilcoxon(means).pvalue)


def test_unchanged_cases_count_against_a_difference():
    few = np.array([0.1, 0.2, 0.05, 0.3, 0.15, 0.25, 0.12])
    many = np.concatenate([few, np.zeros(60)])
    assert _signed_rank(few) < 0.05
    assert _signed_rank(many) == pytest.approx(of_all_signs(many))
    assert _signed_rank(np.zeros(9)) == 1.0


def of_all_signs(differences) -> float:
    """p by its definition: the share of all signs of what is not 0 that give a sum of ranks as far from the middle."""
    ranks = rankdata(np.abs(differences))[differences != 0]
    sums = np.array([ranks @ signs for signs in product((0, 1), repeat=len(ranks))])
    seen = rankdata(np.abs(differences))[differences > 0].sum()
    return min(1.0, 2 * min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean()))


@given(st.lists(st.sampled_from([-0.3, -0.2, -0.1, 0.0, 0.0, 0.1, 0.2, 0.25]), min_size=1, max_size=12))
def test_p_is_the_share_of_signs_with_ties_and_zeros(differences):
    values = np.array(differences)
    assert _signed_rank(values) == pytest.approx(of_all_signs(values) if values.any() else 1)


@pytest.mark.parametrize("changed", [4, 5, 6, 20])
def test_p_rejects_as_seldom_as_it_says_where_few_of_sixty_cases_changed(changed):
    rng = np.random.default_rng(6)
    drawn = np.zeros((2000, 60))
    drawn[:, :changed] = rng.normal(size=(2000, changed))
    assert np.mean([_signed_rank(each) <= 0.05 for each in drawn]) <= 0.06


def test_where_very_many_changed_p_is_scipys():
    differences = np.random.default_rng(7).normal(0.05, 1, 400)
    assert _signed_rank(differences) == wilcoxon(differences, zero_method="pratt").pvalue
    assert _signed_rank(differences[:300]) == pytest.approx(wilcoxon(differences[:300]).pvalue, rel=0.01)


def test_nothing_in_common_is_missing_and_not_zero():
    found = compare({"a": 0.5}, {"b": 0.5}, {"a": "v"})
    assert found.n == found.pairs == 0
    assert found.difference is found.low is found.high is found.p is None


@given(SCORES, SCORES, st.booleans())
def test_the_other_way_round_only_the_sign_changes(ours, other, clustered):
    clusters = {name: name if name < "e" else "rest" for name in "abcdefghij"} if clustered else None
    there = compare(ours, other, clusters, resamples=100)
    back = compare(other, ours, clusters, resamples=100)
    assert there.n == back.n <= min(len(ours), len(other))
    if there.n:
        assert there.difference == pytest.approx(-back.difference)
        assert there.p == pytest.approx(back.p)
        assert 0 <= there.p <= 1
        assert all(math.isfinite(each) for each in (there.low, there.high))


def test_holm_worked_out_by_hand():
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([]) == []


@given(PS)
def test_holm_rejects_what_its_step_down_rule_rejects(ps):
    corrected = holm(ps)
    given_ps = sorted(p for p in ps if p is not None)
    for alpha in (0.01, 0.05, 0.3):
        rejected = 0
        while rejected < len(given_ps) and given_ps[rejected] * (len(given_ps) - rejected) <= alpha:
            rejected += 1
        assert sum(p is not None and p <= alpha for p in corrected) == rejected
    for p, after in zip(ps, corrected, strict=True):
        assert (p is None) == (after is None)
        assert p is None or p <= after <= 1


def groups_of(rng, means, subjects=6, slices=4) -> dict:
    """Groups of subjects with slices each, and the subject of each slice."""
    given = {}
    for name, mean in means.items():
        level = np.clip(
            np.repeat(rng.normal(mean, 0.03, subjects), slices) + rng.normal(0, 0.01, subjects * slices), 0, 1
        )
        given[name] = (level.tolist(), [f"{name}{i // slices}" for i in range(subjects * slices)])
    return given


def test_the_gap_between_groups_has_its_interval_and_the_p_of_kruskal_and_wallis():
    given = groups_of(np.random.default_rng(8), {"a": 0.92, "b": 0.8, "c": 0.84})
    found = gap_between(given)
    assert (found.best, found.worst) == ("a", "b")
    assert found.difference == pytest.approx(np.mean(given["a"][0]) - np.mean(given["b"][0]))
    assert 0 <= found.low <= found.difference <= found.high <= 1
    means = [np.reshape(scores, (6, 4)).mean(axis=1) for scores, _ in given.values()]
    assert found.p == pytest.approx(kruskal(*means).pvalue, abs=0.01)


def test_groups_that_are_alike_are_called_different_as_seldom_as_p_says():
    rng = np.random.default_rng(9)
    ps = [gap_between(groups_of(rng, dict.fromkeys("abc", 0.9), 3), resamples=100).p for _ in range(200)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.1


def test_a_gap_wants_two_groups_and_its_interval_two_subjects_in_each():
    assert gap_between({"a": ([0.5, 0.6], None), "b": ([None], None)}) is None
    found = gap_between({"a": ([0.5, 0.6], None), "b": ([0.7, 0.8], ["x", "x"])})
    assert (found.best, found.low, found.high) == ("b", None, None)
