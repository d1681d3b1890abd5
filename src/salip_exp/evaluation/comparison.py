"""Two runs on the same cases: how much better one is, how sure that is, and p-values corrected over a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from salip_exp.evaluation.statistics import estimate


@dataclass(frozen=True)
class Comparison:
    """Ours minus the other, over the cases that both have a score of.

    Attributes:
        n: common cases.
        pairs: independent pairs that p rests on: cases, or volumes.
        difference: mean over cases; None where n is 0.
        low: lower end of its bootstrap interval.
        high: upper end.
        p: two-sided, of the Wilcoxon signed-rank test; None where n is 0.
    """

    n: int
    pairs: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def compare(
    ours: Mapping[str, float | None],
    other: Mapping[str, float | None],
    clusters: Mapping[str, str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 1234,
) -> Comparison:
    """Paired comparison of scores by case id; None and NaN are no score.

    The interval is that of `statistics.estimate` on the differences. Slices of a volume are not independent: where
    there are volumes the interval resamples them whole, and the test takes the mean difference of each as one pair.

    Args:
        clusters: the volume of every case; None: the cases are independent.
        resamples, confidence, seed: of the bootstrap.
    """
    ids = [name for name, score in ours.items() if _is_score(score) and _is_score(other.get(name))]
    differences = np.array([_of(ours, name) - _of(other, name) for name in ids])
    groups = None if clusters is None else [clusters[name] for name in ids]
    found = estimate(differences.tolist(), groups, resamples, confidence, seed)
    if not ids:
        return Comparison(0, 0)
    pairs = differences if groups is None else _means(differences, groups)
    return Comparison(len(ids), len(pairs), found.mean, found.low, found.high, signed_rank(pairs))


def signed_rank(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test: whether differences lie symmetrically around 0.

    Differences of exactly 0 are ranked with the others and then left out of both sums (Pratt 1959), so that many cases
    which nothing changed count against a difference; dropping them first would make a p-value of the few that are left.
    If all are 0, p is 1. The null distribution is scipy's choice: exact up to 50 pairs without zeros and ties, else
    normal.
    """
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="pratt").pvalue)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number by the step-down method of Holm (1979), in the same order.

        p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j)),  p_(1) <= ... <= p_(m)

    None stays None and is no part of m.
    """
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[i] = highest
    return corrected


def _means(differences: NDArray[np.float64], groups: Sequence[str]) -> NDArray[np.float64]:
    """Mean of each group."""
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    means: NDArray[np.float64] = np.bincount(member, differences, len(names)) / np.bincount(member)
    return means


def _is_score(score: float | None) -> bool:
    return score is not None and not math.isnan(score)


def _of(scores: Mapping[str, float | None], name: str) -> float:
    score = scores[name]
    assert score is not None  # only names with a score are asked for
    return score
