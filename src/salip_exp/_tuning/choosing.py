"""Which trial of a study is taken, and how sure that is: the one place where it is decided.

With m_t the mean of the objective over the images that trial t has a score on, and h the trial of the highest mean, the
first of equals:

    highest:  h, the paper's rule
    robust:   argmax_t L_t over the trials with m_h - m_t <= max(margin, 2 e_t),  L_t = min_d rank_t(s_d x_td);
              of equals the highest sum over d, then the first

e_t is the standard error of the mean difference of h and t on the same images. The rank is that among all trials, from
the strictest to the loosest: s_d = 1 if a larger setting x_d lets more candidates into the pool, and -1 if a smaller
one does (LOOSER). So L_t is how loose a trial is where it is strictest. What should have been kept is lost for good,
what should not is left to CLIP: of settings that five images do not tell apart, the loosest fails least on others. A
sum in place of the minimum lets one strict setting hide behind loose ones. The margin is MARGIN by DSC, and GUESSED of
the objectives without labels, whose small differences mean nothing. `experiments/tuning/README.md` has the figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from salip_exp._settings.tuning import AREA
from salip_exp._tuning.trials import TrialRow
from salip_exp.config import Choice, Config, Objective
from salip_exp.errors import TooManyFailures

MARGIN, GUESSED = 0.005, 0.02
_CLEARLY = 2  # standard errors
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


def choose(trials: Sequence[TrialRow], objective: str, rule: Choice) -> TrialRow | None:
    """The trial that a rule takes by the scores of the tuning images; None where no trial has one."""
    found = _Scored(trials, objective)
    return found.rows[found.pick(rule)] if found.rows else None


def winner(trials: Sequence[TrialRow], config: Config) -> TrialRow:
    """The trial that the configured rule takes by the configured objective.

    Raises:
        TooManyFailures: none has a value; the reasons are in the message.
    """
    best = choose(trials, config.tuning.objective, config.tuning.choose)
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
    found = _Scored(trials, objective)
    chosen, highest = found.pick(rule), found.pick(Choice.highest)
    means = found.means()
    gap, error = found.differences(highest)
    expected, parts = found.left_out(rule, subjects)
    gain, gain_se = found.gain(chosen) if configured_first and found.rows[0].number == 0 else (None, None)
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

    def __init__(self, trials: Sequence[TrialRow], objective: str) -> None:
        self.rows = [each for each in trials if not math.isnan(each.outcome.mean(objective))]
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
        if rule is Choice.highest:
            return int(means.argmax())
        gap, error = self.differences(int(means.argmax()), images)
        near = np.flatnonzero((means > _LEAST) & (gap <= np.maximum(self.margin, _CLEARLY * error) + _ROUNDING))
        ranks = self.ranks[near]
        return int(near[np.lexsort((near, -ranks.sum(axis=1), -ranks.min(axis=1)))[0]])

    @cached_property
    def ranks(self) -> NDArray[np.float64]:
        """Of every trial by dimension, from the strictest on; a setting that a trial does not have is in the middle."""
        columns = [np.zeros(len(self.rows))]  # where nothing opens or closes the way, all are alike
        for name, direction in LOOSER.items():
            values = np.array([each.values.get(name, math.nan) for each in self.rows], np.float64)
            known = ~np.isnan(values)
            if known.any():
                column = np.full(len(self.rows), (known.sum() + 1) / 2)
                column[known] = rankdata(direction * values[known])
                columns.append(column)
        return np.stack(columns[1:] or columns, axis=1)

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
