"""Mean, standard deviation and bootstrap interval of a score over cases; a mean never goes without its n."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap

Interval = Literal["bca", "clusters", "none"]
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
    interval: Interval = "none"

    def to_dict(self) -> dict[str, float | int | str | None]:
        """The fields by name."""
        return asdict(self)


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
    kind: Interval = "bca" if clusters is None else "clusters"
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
