"""Confidence: what the signals of a prediction lead to expect of its DSC, by numbers fitted on phantoms under stress.

    confidence = f(b + sum of w_i t(x_i)) f(c + v t(contrast))
    f(z) = 1 / (1 + exp(-z))    t(x) = -log(1.005 - min(x, 1))

The first factor is the DSC of a rightly asked image, a logistic regression whose outcome is a share (Papke and
Wooldridge 1996), the second the chance that it was rightly asked. No weight is negative, so that more of any signal
never lowers a confidence. t spreads what lies near 1, where stability and its like tell good masks from fair ones.
`fit.json` holds a fit for each set of signals that a case can have, and how they were made (`tools/confidence`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from salip_exp.config import Config, Doubt
from salip_exp.errors import ConfigError
from salip_exp.evaluation._confidence import signals
from salip_exp.evaluation.flags import STAGE_OF, Stage
from salip_exp.methods.base import Prediction, Status
from salip_exp.methods.traits import METHODS, Chooser


@dataclass(frozen=True)
class Fit:
    """A logistic combination of signals.

    Attributes:
        prompted: it is for predictions whose boxes prompt SAM.
        embedded: it is for the embedded CLIP alone.
        weights: by signal.
        intercept: b.
        question: c and v; empty where it is for any CLIP, and the second factor 1.
        usual: median and 5 % quantile of each signal where DSC was 0.8 or more; a case needs all of these signals.
        threshold: confidence below which a case is flagged.
        residuals: `nonconformity` of each calibration subject's worst case, in order.
    """

    prompted: bool
    embedded: bool
    weights: Mapping[str, float]
    intercept: float
    question: Sequence[float]
    usual: Mapping[str, Sequence[float]]
    threshold: float
    residuals: Sequence[float]

    def stage(self, told: Mapping[str, float]) -> Stage:
        """The stage of the signal that lies farthest below what is usual."""

        def below(name: str) -> float:
            middle, low = map(spread, self.usual[name])
            return (middle - spread(told[name])) / max(middle - low, 0.01)

        return STAGE_OF[max(self.usual, key=below)]

    def expected(self, told: Mapping[str, float]) -> float:
        """The DSC that signals lead to expect, in [0, 1]."""
        quality = _logistic(self.intercept + sum(weight * spread(told[name]) for name, weight in self.weights.items()))
        if not self.question:
            return quality
        start, slope = self.question
        return quality * _logistic(start + slope * spread(told["contrast"]))


@dataclass(frozen=True)
class _Alone:
    """A signal that is the confidence, as it is, in the place of a fit (`confidence.by`).

    Attributes:
        name: of the signal.
        threshold: confidence below which a case is flagged, in the scale of DSC.
        residuals: none, for nothing of it was calibrated on phantoms.
    """

    name: str
    threshold: float
    residuals: Sequence[float] = ()

    def stage(self, told: Mapping[str, float]) -> Stage:
        """The stage that the signal tells about."""
        return STAGE_OF[self.name]

    def expected(self, told: Mapping[str, float]) -> float:
        """The signal."""
        return told[self.name]


def spread(value: float) -> float:
    """A signal as the logistic function sees it."""
    return -math.log(1.005 - min(value, 1.0))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def nonconformity(confidence: float, dsc: float) -> float:
    """By how much a confidence exceeds DSC, in units of how far it may, which is least where it is near 0 or 1."""
    return (confidence - dsc) / _room(confidence)


def at_least(confidence: float, residuals: Sequence[float], level: float) -> float:
    """What DSC exceeds in a share `level` of the subjects, at least, if they are exchangeable with the calibration's.

    Split-conformal (Vovk 2005; Papadopoulos 2002): with n residuals the ceil((n + 1) level)-th in order is added to
    the bound's side. A subject counts by its worst case.

    Args:
        residuals: `nonconformity`, in order; enough of them (`require_enough`).
    """
    bound = confidence - residuals[_rank(len(residuals), level) - 1] * _room(confidence)
    return min(1.0, max(0.0, bound))


def require_enough(n: int, level: float, where: str = "") -> None:
    """Refuse a level that so many subjects say nothing about: the residual would lie beyond their largest.

    Raises:
        ConfigError: they are too few.
    """
    if _rank(n, level) > n:
        least = math.ceil(level / (1 - level) - 1e-9)
        place = f" {where}" if where else ""
        raise ConfigError(
            f"confidence.level={level:g} needs {least} subjects to calibrate on and there are {n}{place}: take at most "
            f"{math.floor(1000 * n / (n + 1)) / 1000:g}, or calibrate on more."
        )


def _rank(n: int, level: float) -> int:
    return math.ceil((n + 1) * level - 1e-9)


def _room(confidence: float) -> float:
    return confidence * (1 - confidence) + 0.02


@cache
def fits() -> tuple[Fit, ...]:
    """Those of the package, the one that tells most first."""
    found: dict[str, Any] = json.loads(files(__package__).joinpath("fit.json").read_text("utf-8"))
    return tuple(Fit(**each) for each in found["fits"])


@dataclass(frozen=True)
class Assessment:
    """What is believed of a prediction.

    Attributes:
        signals: by name.
        confidence: the DSC that they lead to expect; None where no fit is for them.
        at_least: DSC that is exceeded at `confidence.level` (`at_least`); None without confidence or calibration.
        flag: the stage that is doubted; None where none is.
    """

    signals: dict[str, float]
    confidence: float | None = None
    at_least: float | None = None
    flag: Stage | None = None

    @property
    def scores(self) -> dict[str, float | None]:
        """What stands among the scores of a record; nothing where there is no confidence."""
        told = {"confidence": self.confidence, "dsc_at_least": self.at_least}
        return {name: value for name, value in told.items() if value is not None}


NOTHING = Assessment({})
_OF_STATUS = {Status.no_masks: Stage.everything, Status.all_filtered: Stage.everything, Status.k_short: Stage.duplicate}


class Assessor:
    """Says how good the predictions of a run are believed to be.

    Nothing is said of a method that is given the target, and no confidence where CLIP does not choose.
    """

    def __init__(self, config: Config, residuals: Sequence[float] | None = None) -> None:
        """Prepare it.

        Args:
            config: of the run.
            residuals: that bounds are made of, enough of them; None: those of the fits.

        Raises:
            ConfigError: `confidence.level` asks for more than the fits' calibration can say.
        """
        by = config.confidence.by
        self._alone = None if by is Doubt.confidence else _Alone(by, config.score.poor_below)
        if residuals is None and self._alone is None:
            require_enough(min(len(each.residuals) for each in fits()), config.confidence.level)
        self._residuals = residuals
        self._k, self._level = config.dataset.k, config.confidence.level
        self._traits = METHODS[config.method]
        self._names = [] if self._traits.target else list(map(str, config.confidence.signals))
        self._embedded = config.clip.name == "tiny" and config.clip.weights is None

    def __call__(self, prediction: Prediction) -> Assessment:
        """What is believed of a prediction of the configured method.

        Raises:
            CaseError: SAM cannot be asked for its boxes, moved.
        """
        told = signals(prediction, self._k, self._names)
        fit = self._fit(told, prediction.prompted is not None)
        if fit is None:
            return Assessment(told)
        confidence = fit.expected(told) if prediction.mask.any() else 0.0  # an empty mask meets no target
        flagged = confidence < fit.threshold
        stage = _OF_STATUS.get(prediction.status) or fit.stage(told)
        residuals = self._residuals or fit.residuals
        bound = at_least(confidence, residuals, self._level) if residuals else None
        return Assessment(told, confidence, bound, stage if flagged else None)

    def expected(self, told: Mapping[str, float]) -> float | None:
        """The DSC that those signals lead to expect of a mask that is not empty; None where no fit is for them."""
        fit = self._fit(told, self._traits.prompts)
        return None if fit is None else fit.expected(told)

    def _fit(self, told: Mapping[str, float], prompted: bool) -> Fit | _Alone | None:
        if self._traits.chooser is not Chooser.clip:
            return None
        if self._alone is not None:
            return self._alone if self._alone.name in told else None
        fitting = (
            each
            for each in fits()
            if each.prompted is prompted and each.embedded <= self._embedded and told.keys() >= each.usual.keys()
        )
        return next(fitting, None)
