"""Mean, standard deviation and interval of a score over cases; a mean never goes without its n."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

_Interval = Literal["cases", "subjects", "none"]
Bounds = tuple[float, float]
"""The least and the largest value that a score can have."""
SHARE: Bounds = (0.0, 1.0)
_CHUNK = 1_000_000  # weights drawn at a time, so that memory does not grow with the data
_EXACT = 300  # differences that are not zero, up to which the distribution of signed ranks is worked out


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
        interval: what the interval rests on: independent `cases`, or `subjects` (volumes, patients) that hold several;
            `none` where there is no interval and both ends are the mean: one case or subject, or a score without
            bounds. Summaries of 0.1.0 say `bca` and `clusters`.
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


@dataclass(frozen=True)
class Spread:
    """How far a figure differs over draws or seeds.

    Attributes:
        n: how many have it.
        mean: over them.
        sd: standard deviation of the sample (n - 1); None of a single one.
        least: the lowest.
        most: the highest.
    """

    n: int
    mean: float
    sd: float | None
    least: float
    most: float


def spread(values: Sequence[float | None]) -> Spread | None:
    """The spread of those that are not missing; None where all are."""
    found = [each for each in values if each is not None]
    if not found:
        return None
    return Spread(len(found), fmean(found), stdev(found) if len(found) > 1 else None, min(found), max(found))


def estimate(
    scores: Sequence[float | None],
    clusters: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 1234,
    bounds: Bounds | None = SHARE,
) -> Estimate:
    """Mean, standard deviation and interval of scores; None and NaN count as missing.

    Args:
        scores: one per case.
        clusters: the subject of every case: cases of one subject resemble each other, so that the interval rests on
            subjects. None, or a subject for each case: the cases are independent.
        resamples: random weightings that the interval is read from.
        confidence: of the interval, e.g. 0.95.
        seed: the same seed gives the same interval.
        bounds: of the score. None for one without, whose mean gets no interval, as none holds for whatever may come;
            values that lie outside of the bounds have none either.
    """
    rows = [i for i, score in enumerate(scores) if score is not None and not math.isnan(score)]
    values = np.array([scores[i] for i in rows], dtype=np.float64)
    missing = len(scores) - len(rows)
    if not len(values):
        return Estimate(0, missing)
    mean = math.fsum(values) / len(values)
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    members = None if clusters is None or len(set(clusters)) == len(clusters) else [clusters[i] for i in rows]
    sums, sizes = (values, np.ones(len(values))) if members is None else _by_subject(values, members)
    if bounds is None or len(sums) < 2 or values.min() < bounds[0] or values.max() > bounds[1]:
        return Estimate(len(values), missing, mean, sd, mean, mean, "none")
    low, high = _ends(sums, sizes, bounds, resamples, confidence, np.random.default_rng(seed))
    kind: _Interval = "cases" if members is None else "subjects"
    return Estimate(len(values), missing, mean, sd, min(low, mean), max(high, mean), kind)


def _by_subject(values: NDArray[np.float64], members: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values of each subject."""
    _, position = np.unique(np.asarray(members), return_inverse=True)
    return np.bincount(position, values).astype(np.float64), np.bincount(position).astype(np.float64)


def _ends(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    bounds: Bounds,
    resamples: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Ends of Gaffke's interval of the mean of a bounded variable (Gaffke 2005; Learned-Miller and Thomas 2019).

        low = quantile of (sum_g w_g s_g + w_0 m a) / (sum_g w_g n_g + w_0 m),  w ~ Exp(1),  high with b for a

    over subjects g with n_g cases of sum s_g, beside one more of mean size m that scored the least (a) or the most (b)
    that can be. It asks nothing of the distribution but its bounds. A bootstrap, and Student's t, take what was not
    drawn for absent: of scores that fail now and then, 20 cases without a failure are common, and their 95 % interval
    then holds the mean 6 times of 10.
    """
    tail = (1 - confidence) / 2
    means = np.concatenate(
        [
            ((weights[:, 1:] @ sums)[:, None] + weights[:, :1] * sizes.mean() * np.array(bounds))
            / (weights[:, 1:] @ sizes + weights[:, 0] * sizes.mean())[:, None]
            for weights in random_weights(len(sums) + 1, resamples, rng)
        ]
    )
    ends = np.quantile(means[:, 0], tail), np.quantile(means[:, 1], 1 - tail)
    return max(bounds[0], float(ends[0])), min(bounds[1], float(ends[1]))  # the sums are rounded


def random_weights(
    n: int, resamples: int, rng: np.random.Generator, width: int | None = None
) -> Iterator[NDArray[np.float64]]:
    """`resamples` rows of n exponential weights each, in chunks of a bounded size.

    Args:
        n: weights in a row.
        resamples: rows.
        rng: that they are drawn from.
        width: numbers that are made of each row, where these are more than n.
    """
    at_once = max(1, _CHUNK // (width or n))
    for start in range(0, resamples, at_once):
        yield rng.exponential(size=(min(at_once, resamples - start), n))


@dataclass(frozen=True)
class Comparison:
    """Ours minus the other, over the cases that both have a score of.

    Attributes:
        n: common cases.
        pairs: independent pairs that p rests on: cases, or subjects.
        difference: mean over cases; None where n is 0.
        low: lower end of its interval; the difference itself where there is none.
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
    bounds: Bounds | None = SHARE,
) -> Comparison:
    """Paired comparison of scores by case id; None and NaN are no score.

    The interval is that of `estimate` on the differences. Cases of one subject are not independent: where there are
    subjects the interval rests on them, and the test takes the mean difference of each as one pair.

    Args:
        clusters: the subject of every case; None, or a subject for each case: the cases are independent.
        resamples: of the interval.
        confidence: of the interval.
        seed: of the interval.
        bounds: of both scores; None, for scores without: no interval.
    """
    ids = [name for name, score in ours.items() if _is_score(score) and _is_score(other.get(name))]
    differences = np.array([_of(ours, name) - _of(other, name) for name in ids])
    groups = None if clusters is None else [clusters[name] for name in ids]
    width = None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])
    found = estimate(differences.tolist(), groups, resamples, confidence, seed, width)
    if not ids:
        return Comparison(0, 0)
    pairs = differences if groups is None else _means(differences, groups)
    return Comparison(len(ids), len(pairs), found.mean, found.low, found.high, _signed_rank(pairs))


def _signed_rank(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test: whether differences lie symmetrically around 0.

    Differences of exactly 0 are ranked with the others and then left out of both sums (Pratt 1959), so that many cases
    which nothing changed count against a difference; dropping them first would make a p-value of the few that are left.
    If all are 0, p is 1. The distribution under the null, every sign as likely as the other, is worked out exactly,
    with ties and zeros as they are; a normal distribution in its place rejects 14 % at 0.05 where 4 of 60 differ. It is
    taken, as scipy does it, beyond 300 differences that are not 0.
    """
    changed = np.count_nonzero(differences)
    if not changed:
        return 1.0
    if changed > _EXACT:
        return float(wilcoxon(differences, zero_method="pratt").pvalue)
    ranks = np.rint(2 * rankdata(np.abs(differences))).astype(np.int64)  # ranks of ties are whole or half
    sums = np.ones(1)  # probability of each sum of the ranks with a plus, doubled
    for rank in ranks[differences != 0]:
        sums = (np.pad(sums, (0, rank)) + np.pad(sums, (rank, 0))) / 2
    seen = int(ranks[differences > 0].sum())
    return float(min(1.0, 2 * min(sums[: seen + 1].sum(), sums[seen:].sum())))


@dataclass(frozen=True)
class Gap:
    """How far the means of several groups lie apart.

    Attributes:
        best: group of the highest mean.
        worst: group of the lowest.
        difference: of their means.
        low: lower end of the interval of the highest true mean minus the lowest; None where a group has none.
        high: upper end.
        p: of the Kruskal-Wallis test over subjects, by permutation: whether the groups are alike.
    """

    best: str
    worst: str
    difference: float
    low: float | None
    high: float | None
    p: float


def gap_between(
    groups: Mapping[str, tuple[Sequence[float | None], Sequence[str] | None]],
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 1234,
    bounds: Bounds | None = SHARE,
) -> Gap | None:
    """The gap between the best and the worst of several groups; None unless two of them have a score.

    Which groups are best and worst is seen in the same scores, so that an interval of their difference alone would be
    too high. That of every group is made at 1 - (1 - confidence) / m for m groups, so that all hold together, and the
    gap lies between the ends that they leave (Bonferroni).

    Args:
        groups: scores, and the subject of each (None: they are independent), as in `estimate`.
        resamples: of the intervals, and permutations of the test.
        confidence: of the interval.
        seed: of both.
        bounds: of the score.
    """
    each = 1 - (1 - confidence) / max(1, len(groups))
    found = {name: estimate(*given, resamples, each, seed, bounds) for name, given in groups.items()}
    means = {name: one.mean for name, one in found.items() if one.mean is not None}
    if len(means) < 2:
        return None
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    known = [found[name] for name in means]
    low = high = None
    if all(one.interval != "none" for one in known):
        lows, highs = [one.low or 0.0 for one in known], [one.high or 0.0 for one in known]
        low, high = max(0.0, max(lows) - min(highs)), max(highs) - min(lows)
    p = _alike([_of_subjects(*groups[name]) for name in means], resamples, np.random.default_rng(seed))
    return Gap(best, worst, means[best] - means[worst], low, high, p)


def _of_subjects(scores: Sequence[float | None], clusters: Sequence[str] | None) -> NDArray[np.float64]:
    """Mean score of each subject that has one."""
    rows = [i for i, score in enumerate(scores) if _is_score(score)]
    names = [str(i) if clusters is None else clusters[i] for i in rows]
    return _means(np.array([scores[i] for i in rows], dtype=np.float64), names)


def _alike(groups: Sequence[NDArray[np.float64]], permutations: int, rng: np.random.Generator) -> float:
    """p of the Kruskal-Wallis test by permutation: the share of orders in which the sum over groups of (sum of
    ranks)^2 / size is as large, the one that was seen among them.
    """
    ranks, sizes = rankdata(np.concatenate(groups)), np.array([len(each) for each in groups])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def spread(order: NDArray[np.float64]) -> float:
        return float((np.add.reduceat(order, starts) ** 2 / sizes).sum())

    seen = spread(ranks)
    as_far = sum(spread(rng.permutation(ranks)) >= seen - 1e-9 * seen for _ in range(permutations))
    return (1 + as_far) / (1 + permutations)


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


def _means(scores: NDArray[np.float64], members: Sequence[str]) -> NDArray[np.float64]:
    """Mean of each subject."""
    sums, sizes = _by_subject(scores, members)
    return sums / sizes


def _is_score(score: float | None) -> bool:
    return score is not None and not math.isnan(score)


def _of(scores: Mapping[str, float | None], name: str) -> float:
    score = scores[name]
    assert score is not None  # only names with a score are asked for
    return score
