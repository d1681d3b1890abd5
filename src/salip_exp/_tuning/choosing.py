"""Which trial of a study is taken, and how sure that is: the one place where it is decided.

With m_t the mean of the objective over the n images that trial t has a score on, h the trial of the highest mean, the
first of equals, and e_t the standard error of the mean difference of h and t on the same images:

    highest:  h, the paper's rule
    robust:   trial 0, the configured settings, if m_h - m_0 <= max(margin, q e_0) and L_0 > STRICT; otherwise
              argmax_t L_t over the trials with m_h - m_t <= max(margin, e_t), of equals the first,
              L_t = min_d |x_td - strictest_d| / |loosest_d - strictest_d|

q is the 0.975 quantile of Student's t with n - 1 degrees of freedom. Strictest and loosest are the ends of what the
trials have of a setting x_d, of those that open or close the way of candidates into the pool (LOOSER). So L_t, 0 to 1,
is how loose a trial is where it is strictest. What should have been kept is lost for good, what should not is left to
CLIP: of settings that five images do not tell apart, the loosest fails least on others, and configured settings at the
strict end of the search have no claim to stay. A sum in place of the minimum lets one strict setting hide behind loose
ones. The margin is MARGIN by DSC, and GUESSED of the objectives without labels, whose small differences mean nothing.
`experiments/tuning/README.md` has the figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from salip_exp._settings.tuning import AREA
from salip_exp._tuning.trials import TrialRow
from salip_exp.config import Choice, Config, Objective
from salip_exp.errors import TooManyFailures

MARGIN, GUESSED = 0.005, 0.02
STRICT = 0.05
_SURE = 0.975
LOOSER = {
    "sam.pred_iou_thresh": -1,
    "sam.stability_score_thresh": -1,
    "sam.box_nms_thresh": 1,
    "sam.crop_nms_thresh": 1,
    AREA: 1,
}
"""Dimensions that open or close the way to CLIP, with the direction that opens it."""
_LEAST = -1e9  # mean of a trial without a score
_DIGITS = 12  # of means: what differs behind them is rounding
_ROUNDING = 10.0**-_DIGITS
_FOLDS = 10  # parts of the tuning images that are left out in turn, at most: one by one up to ten


@dataclass(frozen=True)
class Certainty:
    """How sure a choice among trials is, by the tuning images alone.

    Attributes:
        rule: that it is made by.
        highest: number of the trial with the highest mean.
        tied: trials with that mean, to rounding; itself among them.
        near: trials whose mean lies within one standard error of that, by differences on the same images.
        of: trials with a score.
        expected: mean score on images that are left out in turn while the others choose: what to expect of other
            images, where `best.value` is too good. None where a single subject leaves nothing to choose by.
        parts: of the images that are left out in turn, by subject.
        gain: of the choice over trial 0 on the tuning images; None where that is not the configured settings.
        gain_se: its standard error, by differences on the same images; None of a single image.
        keep_default: whether the configured settings may as well stay: the gain is no more than the margin; None as of
            `gain`. A bound of some standard errors would keep bad settings that fail on one image of five: a single
            failure is never clear.
    """

    rule: str
    highest: int
    tied: int
    near: int
    of: int
    expected: float | None
    parts: int
    gain: float | None
    gain_se: float | None
    keep_default: bool | None


def choose(trials: Sequence[TrialRow], objective: str, rule: Choice, configured_first: bool = False) -> TrialRow | None:
    """The trial that a rule takes by the scores of the tuning images; None where no trial has one.

    Args:
        configured_first: whether trial 0 is the configured settings.
    """
    found = _Scored(trials, objective, configured_first)
    return found.rows[found.pick(rule)] if found.rows else None


def winner(trials: Sequence[TrialRow], config: Config) -> TrialRow:
    """The trial that the configured rule takes by the configured objective.

    Raises:
        TooManyFailures: none has a value; the reasons are in the message.
    """
    best = choose(trials, config.tuning.objective, config.tuning.choose, config.tuning.configured_first)
    if best is None:
        counts = Counter(each.reason or "unknown" for each in trials)
        table = "; ".join(f"{count} x {reason}" for reason, count in counts.most_common(5))
        raise TooManyFailures(
            f"no trial has a value ({config.tuning.objective}), all {len(trials)} failed: {table}; "
            "change tuning.space, the tuning images (seed) or tuning.objective"
        )
    return best


def certainty(
    trials: Sequence[TrialRow], objective: str, rule: Choice, subjects: Mapping[str, str], configured_first: bool
) -> Certainty:
    """How sure the choice is; at least one trial must have a score.

    Args:
        subjects: of the images, by id.
        configured_first: whether trial 0 is the configured settings.
    """
    found = _Scored(trials, objective, configured_first)
    chosen, highest = found.pick(rule), found.pick(Choice.highest)
    means = found.means()
    gap, error = found.differences(highest)
    expected, parts = found.left_out(rule, subjects)
    gain, gain_se = found.gain(chosen) if found.configured_first else (None, None)
    return Certainty(
        rule=str(rule),
        highest=found.rows[highest].number,
        tied=int((means == means[highest]).sum()),
        near=int((gap <= error + _ROUNDING).sum()),
        of=len(found.rows),
        expected=expected,
        parts=parts,
        gain=gain,
        gain_se=gain_se,
        keep_default=None if gain is None else gain <= found.margin + _ROUNDING,
    )


class _Scored:
    """The trials that have a score, with what it is on every image."""

    def __init__(self, trials: Sequence[TrialRow], objective: str, configured_first: bool) -> None:
        self.rows = [each for each in trials if not math.isnan(each.outcome.mean(objective))]
        self.configured_first = configured_first and bool(self.rows) and self.rows[0].number == 0
        self.margin = MARGIN if objective == Objective.dsc else GUESSED
        self.images = list(self.rows[0].outcome.images) if self.rows else []
        table = [[each.outcome.images[image].get(objective) for image in self.images] for each in self.rows]
        self.scores: NDArray[np.float64] = np.array(table, np.float64)  # None becomes NaN

    def means(self, images: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Of every trial over images, of which it may lack some; _LEAST where it lacks all."""
        scores = self.scores if images is None else self.scores[:, images]
        n = (~np.isnan(scores)).sum(axis=1)
        return np.where(n > 0, np.nansum(scores, axis=1) / np.maximum(n, 1), _LEAST).round(_DIGITS)

    def pick(self, rule: Choice, images: NDArray[np.bool_] | None = None) -> int:
        """Row of the trial that a rule takes by some of the images."""
        means = self.means(images)
        highest = int(means.argmax())
        if rule is Choice.highest:
            return highest
        gap, error = self.differences(highest, images)
        if self.configured_first and self._stays(float(gap[0]), float(error[0]), images):
            return 0
        near = np.flatnonzero((means > _LEAST) & (gap <= np.maximum(self.margin, error) + _ROUNDING))
        return int(near[self.looseness[near].argmax()])

    def _stays(self, gap: float, error: float, images: NDArray[np.bool_] | None) -> bool:
        """Whether the first trial is not clearly below the highest, nor among the strictest."""
        n = self.scores.shape[1] if images is None else int(images.sum())
        clear = error * float(student.ppf(_SURE, n - 1)) if n > 1 else 0.0
        return gap <= max(self.margin, clear) + _ROUNDING and self.looseness[0] > STRICT

    @cached_property
    def looseness(self) -> NDArray[np.float64]:
        """L_t; a setting that a trial lacks is in the middle, and where none of LOOSER differs all are alike."""
        least = np.full(len(self.rows), 1.0)
        for name, direction in LOOSER.items():
            values = direction * np.array([each.values.get(name, math.nan) for each in self.rows], np.float64)
            known = ~np.isnan(values)
            if known.any() and np.ptp(values[known]):
                place = np.where(known, (values - values[known].min()) / np.ptp(values[known]), 0.5)
                least = np.minimum(least, place)
        return least

    def differences(
        self, row: int, images: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean of a trial's scores minus every trial's, and its standard error; 0 where less than two images tell."""
        scores = self.scores if images is None else self.scores[:, images]
        gaps = scores[row] - scores
        n = (~np.isnan(gaps)).sum(axis=1)
        mean = np.nansum(gaps, axis=1) / np.maximum(n, 1)
        squares = np.nansum((gaps - mean[:, None]) ** 2, axis=1)
        return mean, np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1)), 0.0)

    def gain(self, row: int) -> tuple[float, float | None]:
        """Of a trial over the first, with its standard error."""
        mean, error = self.differences(row)
        return float(mean[0]), float(error[0]) if self.scores.shape[1] > 1 else None

    def left_out(self, rule: Choice, subjects: Mapping[str, str]) -> tuple[float | None, int]:
        """Mean score of what a rule takes by the other parts of the images, part by part; and the number of parts."""
        parts = list(_parts([subjects[image] for image in self.images]))
        if len(parts) < 2:
            return None, len(parts)
        scores = np.concatenate([self.scores[self.pick(rule, ~part)][part] for part in parts])
        return (None if np.isnan(scores).all() else float(np.nanmean(scores))), len(parts)


def _parts(subjects: Sequence[str]) -> Iterator[NDArray[np.bool_]]:
    """Which images are in each part: those of a subject, or of several where there are more than _FOLDS."""
    _, number = np.unique(np.asarray(subjects), return_inverse=True)
    for part in range(min(_FOLDS, number.max(initial=-1) + 1)):
        yield number % _FOLDS == part
