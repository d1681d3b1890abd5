"""Whether a confidence tells good predictions from poor ones: risk and coverage, and what the field sums them up by.

The risk of a case is 1 - DSC; coverage is the share of cases that is kept, the most confident first. A case is poor
where its DSC lies below a threshold (`score.poor_below`). Every measure is of cases with weights, which are all 1 but
where an interval is made. What is not defined (no poor case, or nothing but poor ones) is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp.evaluation.statistics import random_weights

_Array = NDArray[np.float64]
_BINS = 10
"""Of equal width, in which calibration is looked at."""
_KEPT = 0.95
"""Share of the good cases that FPR95 keeps."""
_LEAST = 1e-12  # a weight or a spread below it is none
_ENOUGH = 50  # subjects from which on weights alone make an interval that covers what it claims
_MOST, _FEWEST = 2_000_000, 200  # cases times draws, and draws


@dataclass(frozen=True)
class Figure:
    """One measure with its interval; all None where it is not defined, both ends where there are too few subjects."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Detection:
    """What a confidence is worth.

    Attributes:
        n: cases with both a confidence and a DSC.
        missing: cases that lack either; they are in no figure here.
        poor: cases whose DSC lies below the threshold.
        subjects: that the intervals rest on; None where each case is one.
        measures: by name, those of `MEASURES`.
    """

    n: int
    missing: int
    poor: int
    subjects: int | None
    measures: Mapping[str, Figure]

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, ready for JSON."""
        return asdict(self)


class _Cases:
    """Confidence (n,) and DSC (n,) of cases, ranked once for weights (draws, n) of many draws."""

    def __init__(self, confidence: _Array, dsc: _Array, threshold: float) -> None:
        self.confidence, self.dsc, self.risk = confidence, dsc, 1 - dsc
        self.poor = dsc < threshold
        self.falling = np.argsort(-confidence, kind="stable")
        self.sorted = bool((self.falling[1:] > self.falling[:-1]).all())
        ordered = confidence[self.falling]
        self.steps = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.lengths = np.diff(np.r_[self.steps, len(dsc)])

    @cached_property
    def by_dsc(self) -> _Cases:
        """The same cases in the best order that there is."""
        return _Cases(self.dsc, self.dsc, 0.0)

    def by_step(self, values: _Array) -> _Array:
        """Sums of values (draws, n) over cases of equal confidence, the most confident first."""
        return np.add.reduceat(self.in_order(values), self.steps, axis=1)

    def in_order(self, values: _Array) -> _Array:
        """Values (draws, n), the most confident first."""
        return values if self.sorted else values[:, self.falling]


def _selective(cases: _Cases, weights: _Array) -> tuple[_Array, _Array]:
    """Coverage and risk of what is kept (draws, n), after each case in falling order of confidence.

    Cases of equal confidence come in no order: each counts with the mean risk of all of them.
    """
    ordered = cases.in_order(weights)
    means = cases.by_step(weights * cases.risk) / cases.by_step(weights)
    kept = np.cumsum(ordered, axis=1)
    return kept / kept[:, -1:], np.cumsum(ordered * np.repeat(means, cases.lengths, axis=1), axis=1) / kept


def _aurc(cases: _Cases, weights: _Array) -> _Array:
    """Area under the risk-coverage curve: the mean, over the coverages j / n, of the risk of the j most confident

        AURC = 1/n sum_j (1/j sum_(i <= j) r_(i)),  r = 1 - DSC

    (Geifman, Uziel, El-Yaniv 2019, for ties in expectation over their order).
    """
    coverage, risk = _selective(cases, weights)
    return np.asarray((np.diff(coverage, axis=1, prepend=0) * risk).sum(axis=1), np.float64)


def _naurc(cases: _Cases, weights: _Array) -> _Array:
    """What of the possible gain over chance is gained: 1 of a perfect order, 0 of none, below 0 of a wrong one.

        nAURC = (AURC_random - AURC) / (AURC_random - AURC_optimal)

    AURC_random is the mean risk, which is expected at any coverage without an order; AURC_optimal is that of cases in
    the order of their own risk. (Conformal reverse classification accuracy gives this figure.)
    """
    random = (weights * cases.risk).sum(axis=1) / weights.sum(axis=1)
    room = random - _aurc(cases.by_dsc, weights)
    return _ratio(random - _aurc(cases, weights), room)


def _auroc(cases: _Cases, weights: _Array) -> _Array:
    """The chance that a good case has a higher confidence than a poor one; a tie counts one half (Mann-Whitney)."""
    poor, good = cases.by_step(weights * cases.poor), cases.by_step(weights * ~cases.poor)
    below = poor.sum(axis=1, keepdims=True) - np.cumsum(poor, axis=1) + poor / 2
    return _ratio((good * below).sum(axis=1), poor.sum(axis=1) * good.sum(axis=1))


def _fpr95(cases: _Cases, weights: _Array) -> _Array:
    """The share of poor cases that is kept at the highest confidence from which on 95 % of the good ones are.

    (FPR at 95 % TPR with good cases as positives, as in Hendrycks and Gimpel 2017 and in FD-Shifts.)
    """
    poor, good = cases.by_step(weights * cases.poor), cases.by_step(weights * ~cases.poor)
    enough = np.cumsum(good, axis=1) >= _KEPT * good.sum(axis=1, keepdims=True) - _LEAST
    first = enough.argmax(axis=1)
    kept = np.take_along_axis(np.cumsum(poor, axis=1), first[:, None], axis=1)[:, 0]
    return np.where(good.sum(axis=1) > _LEAST, _ratio(kept, poor.sum(axis=1)), np.nan)


def _spearman(cases: _Cases, weights: _Array) -> _Array:
    """Pearson's correlation of the ranks of confidence and DSC, ties at their mean rank."""
    if 1 in (len(cases.steps), len(cases.by_dsc.steps)):
        return np.full(len(weights), np.nan)
    total = weights.sum(axis=1, keepdims=True)
    ranks = (_ranks(each, weights) for each in (cases, cases.by_dsc))
    mine, theirs = (each - (weights * each).sum(axis=1, keepdims=True) / total for each in ranks)
    spread = (weights * mine**2).sum(axis=1) * (weights * theirs**2).sum(axis=1)
    return _ratio((weights * mine * theirs).sum(axis=1), np.sqrt(spread))


def _ranks(cases: _Cases, weights: _Array) -> _Array:
    """How much weight lies before each case, and half of that of its ties."""
    sums = cases.by_step(weights)
    ranks = np.empty_like(weights)
    ranks[:, cases.falling] = np.repeat(np.cumsum(sums, axis=1) - sums / 2, cases.lengths, axis=1)
    return ranks


def _calibration(cases: _Cases, weights: _Array) -> _Array:
    """How far confidence lies from DSC: expected calibration error over ten bins of equal width, 0 at best.

        ECE = sum_b |sum_(i in b) (confidence_i - DSC_i)| / n

    Missing of a confidence that leaves [0, 1], which then is no guess at the DSC.
    """
    if cases.confidence.min() < 0 or cases.confidence.max() > 1:
        return np.full(len(weights), np.nan)
    of_bin = _bins(cases.confidence)
    gaps = weights * (cases.confidence - cases.dsc)
    apart = np.sum([np.abs(gaps[:, of_bin == each].sum(axis=1)) for each in range(_BINS)], axis=0)
    return np.asarray(apart / weights.sum(axis=1), np.float64)


def _bins(confidence: _Array) -> NDArray[np.intp]:
    return np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)


def _ratio(above: _Array, below: _Array) -> _Array:
    """NaN where there is nothing below."""
    there = below > _LEAST
    return np.where(there, above / np.where(there, below, 1.0), np.nan)


_Measure = Callable[[_Cases, _Array], _Array]
MEASURES: Mapping[str, _Measure] = {
    "auroc": _auroc,
    "aurc": _aurc,
    "naurc": _naurc,
    "fpr95": _fpr95,
    "spearman": _spearman,
    "calibration": _calibration,
}
"""By name; each gives a value for every draw of weights."""
TITLES = {
    "auroc": "AUROC",
    "aurc": "AURC",
    "naurc": "nAURC",
    "fpr95": "FPR95",
    "spearman": "Spearman",
    "calibration": "calibration error",
}
"""The measures for people."""
_OF_TWO_KINDS = ("auroc", "fpr95")
"""Measures that compare poor cases with good ones, of either of which there may be few."""
_RISING = {"auroc": True, "aurc": False, "naurc": True, "fpr95": False, "spearman": True, "calibration": False}
"""Whether more is better."""


def detection(
    confidence: Sequence[float | None],
    dsc: Sequence[float | None],
    subjects: Sequence[str] | None = None,
    threshold: float = 0.8,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 1234,
) -> Detection:
    """Every measure of how well a confidence goes with the DSC, with an interval by subject.

    The intervals are made of random weights of subjects, which are exponential, as those of means are
    (`statistics.estimate`). AUROC and FPR95 rest on the poor cases, which are few: they get two more that nobody has
    seen, a confident one that is poor and a doubted one that is good for the bad end, told apart for the good end. A
    bootstrap of 50 cases of which 7 are poor covers the true AUROC 64 times of 100, this 99 times; of few subjects it
    is as wide as it must be. The others have an interval from 50 subjects on, where it covered 88 to 98 of 100.

    Args:
        confidence: one for each case, more is better; None and NaN are missing.
        dsc: of the same cases; None and NaN are missing.
        subjects: of each case, what it is not independent within. None: every case is its own.
        threshold: a case is poor below it.
        resamples: draws of weights; fewer where there are more than a thousand cases.
        level: of the intervals.
        seed: of the draws.
    """
    rows = [i for i, pair in enumerate(zip(confidence, dsc, strict=True)) if all(map(_is_number, pair))]
    missing = len(dsc) - len(rows)
    told, scores = (np.array([each[i] for i in rows], np.float64) for each in (confidence, dsc))
    members = [str(i) if subjects is None else subjects[i] for i in rows]
    if not rows:
        return Detection(0, missing, 0, None, dict.fromkeys(MEASURES, Figure(None)))
    names, of_case = np.unique(np.asarray(members, dtype=str), return_inverse=True)
    order = np.argsort(-told, kind="stable")  # so that no draw has to be sorted
    of_case = of_case[order]
    cases = _Cases(told[order], scores[order], threshold)
    alone = {name: float(measure(cases, np.ones((1, len(rows))))[0]) for name, measure in MEASURES.items()}
    known = [name for name, value in alone.items() if math.isfinite(value)]
    sure = [name for name in known if len(names) >= (2 if name in _OF_TWO_KINDS else _ENOUGH)]
    some = min(resamples, max(_FEWEST, _MOST // len(rows)))
    draws = random_weights(len(names) + 2, some, np.random.default_rng(seed), len(rows) + 2)
    ends = _ends(cases, sure, _of_cases(draws, of_case), threshold, level) if sure else {}
    figures = {name: _figure(alone[name], ends.get(name)) if name in known else Figure(None) for name in MEASURES}
    subjects_left = len(names) if len(names) < len(rows) else None
    return Detection(len(rows), missing, int(cases.poor.sum()), subjects_left, figures)


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _of_cases(draws: Iterable[_Array], of_case: NDArray[np.intp]) -> Iterator[_Array]:
    """Weights (draws, n + 2) of n cases between two unseen ones, from those of subjects and two of their mean size."""
    for each in draws:
        size = len(of_case) / (each.shape[1] - 2)
        yield np.concatenate([each[:, :1] * size, each[:, 1:-1][:, of_case], each[:, -1:] * size], axis=1)


def _ends(
    cases: _Cases, names: Sequence[str], draws: Iterable[_Array], threshold: float, level: float
) -> dict[str, tuple[float, float]]:
    """Both ends of the interval of each measure; nothing without draws."""
    bad, good = (_with_unseen(cases, threshold, told_apart) for told_apart in (False, True))
    found: dict[str, list[tuple[_Array, _Array]]] = {name: [] for name in names}
    for weights in draws:
        for name, values in found.items():
            if name in _OF_TWO_KINDS:
                values.append((MEASURES[name](bad, weights), MEASURES[name](good, weights)))
            else:
                values.append((MEASURES[name](cases, weights[:, 1:-1]),) * 2)
    tail = (1 - level) / 2
    ends = {
        name: [np.concatenate(each) for each in zip(*values, strict=True)] for name, values in found.items() if values
    }
    return {name: _between(pair if _RISING[name] else pair[::-1], tail) for name, pair in ends.items()}


def _between(values: Sequence[_Array], tail: float) -> tuple[float, float]:
    return float(np.quantile(values[0], tail)), float(np.quantile(values[1], 1 - tail))


def _with_unseen(cases: _Cases, threshold: float, told_apart: bool) -> _Cases:
    """The cases between two more, a good and a poor one, which the confidence tells apart or takes for each other."""
    first, last = (1.0, 0.0) if told_apart else (0.0, 1.0)
    told = np.r_[cases.confidence.max() + 1, cases.confidence, cases.confidence.min() - 1]
    return _Cases(told, np.r_[first, cases.dsc, last], threshold)


def _figure(value: float, ends: tuple[float, float] | None) -> Figure:
    return Figure(value) if ends is None else Figure(value, min(value, ends[0]), max(value, ends[1]))


def risk_coverage(confidence: Sequence[float], dsc: Sequence[float]) -> tuple[_Array, _Array]:
    """Coverage (n,) and the mean risk (n,) of what is kept then, the most confident first; ties in expectation."""
    cases = _Cases(np.asarray(confidence, float), np.asarray(dsc, float), 0.0)
    coverage, risk = _selective(cases, np.ones((1, len(dsc))))
    return coverage[0], risk[0]


@dataclass(frozen=True)
class Kept:
    """What is left when the most doubtful cases are put aside.

    Attributes:
        n: cases that are kept.
        mean: their DSC.
        worst: their lowest DSC.
    """

    n: int
    mean: float
    worst: float


def kept(confidence: Sequence[float], dsc: Sequence[float], coverage: float) -> Kept:
    """The most confident share of cases, rounded up to whole ones; of equal confidence, the worst are kept."""
    order = np.lexsort((np.asarray(dsc, float), -np.asarray(confidence, float)))
    taken = np.asarray(dsc, float)[order[: math.ceil(coverage * len(dsc) - _LEAST)]]
    return Kept(len(taken), float(taken.mean()), float(taken.min()))


@dataclass(frozen=True)
class _Bin:
    """Cases of about the same confidence: how many, their mean confidence and their mean DSC."""

    n: int
    confidence: float
    dsc: float


def reliability(confidence: Sequence[float], dsc: Sequence[float]) -> list[_Bin]:
    """The bins of calibration that hold a case, the least confident first; none of a confidence that leaves [0, 1]."""
    told, scores = np.asarray(confidence, float), np.asarray(dsc, float)
    if not len(told) or told.min() < 0 or told.max() > 1:
        return []
    return list(_filled_bins(told, scores))


def _filled_bins(told: _Array, scores: _Array) -> Iterator[_Bin]:
    of_bin = _bins(told)
    for each in np.unique(of_bin):
        inside = of_bin == each
        yield _Bin(int(inside.sum()), float(told[inside].mean()), float(scores[inside].mean()))
