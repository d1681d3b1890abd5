"""Mean, standard deviation and bootstrap interval of a score over cases; a mean never goes without its n."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap, wilcoxon

_Interval = Literal["bca", "clusters", "none"]
CHUNK = 1_000_000  # numbers resampled at a time, so that memory does not grow with the data


@dataclass(frozen=True)
class Estimate:
    """A mean with what it rests on.

    Attributes:
        n: cases with a score.
        missing: cases without one (failed, or without a target); they are in no figure here.
        mean: None where n is 0.
        sd: standard deviation of the sample (n - 1); None where n is below 2.
        low: lower end of the interval of the mean.
        high: upper end.
        interval: how the interval was made: `bca` of independent cases, `clusters` of resampled volumes, or `none`
            where there was nothing to resample (one case, one volume, equal scores), and both ends are the mean.
    """

    n: int
    missing: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    interval: _Interval = "none"

    def to_dict(self) -> dict[str, float | int | str | None]:
        """The fields by name."""
        return asdict(self)


class RunningMean:
    """The mean of the scores so far."""

    def __init__(self) -> None:
        self.sum, self.n = 0.0, 0

    def add(self, score: float) -> float:
        """Take one more score, and say the mean."""
        self.sum, self.n = self.sum + score, self.n + 1
        return self.sum / self.n


def estimate(
    scores: Sequence[float | None],
    clusters: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 1234,
) -> Estimate:
    """Mean, standard deviation and interval of scores; None and NaN count as missing.

    Args:
        scores: one per case.
        clusters: the volume of every case: slices of one volume resemble each other, so volumes are resampled whole
            (percentile interval). None: the cases are independent (bias-corrected accelerated interval).
        resamples: of the bootstrap.
        confidence: of the interval, e.g. 0.95.
        seed: the same seed gives the same interval.
    """
    rows = [i for i, score in enumerate(scores) if score is not None and not math.isnan(score)]
    values = np.array([scores[i] for i in rows], dtype=np.float64)
    missing = len(scores) - len(rows)
    if not len(values):
        return Estimate(0, missing)
    mean = math.fsum(values) / len(values)
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    rng = np.random.default_rng(seed)
    kind: _Interval = "bca" if clusters is None else "clusters"
    if clusters is None:
        ends = _independent(values, resamples, confidence, rng)
    else:
        ends = _clustered(values, [clusters[i] for i in rows], resamples, confidence, rng)
    if ends is None:
        return Estimate(len(values), missing, mean, sd, mean, mean, "none")
    return Estimate(len(values), missing, mean, sd, *ends, kind)


def _independent(
    values: NDArray[np.float64], resamples: int, confidence: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Ends of the BCa interval of the mean (Efron 1987), or None for data that cannot vary."""
    if np.ptp(values) == 0:
        return None
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        ends = bootstrap(
            (values,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, CHUNK // len(values)),
            vectorized=True,
            confidence_level=confidence,
            method="BCa",
            rng=rng,
        ).confidence_interval
    return (float(ends.low), float(ends.high)) if np.isfinite([ends.low, ends.high]).all() else None


def _clustered(
    values: NDArray[np.float64], clusters: Sequence[str], resamples: int, confidence: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Ends of the percentile interval of the mean over cases when clusters are drawn with replacement."""
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2 or np.ptp(values) == 0:
        return None
    sums = np.bincount(member, values)
    counts = np.bincount(member)
    means = np.concatenate(
        [sums[draw].sum(axis=1) / counts[draw].sum(axis=1) for draw in _draws(len(names), resamples, rng)]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _draws(n: int, resamples: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """`resamples` rows of n positions each, in chunks."""
    at_once = max(1, CHUNK // n)
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    return [rng.integers(0, n, size=(size, n)) for size in sizes]


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
        resamples: of the bootstrap.
        confidence: of the interval.
        seed: of the bootstrap.
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
