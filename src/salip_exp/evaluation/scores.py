"""The scores: one table of what is measured of a prediction, which records, summaries, tables and pages read.

Another installed package adds one by an entry point of the group `salip_exp.scores`, named as the score:

    def share(case, prediction, config):
        return prediction.mask.mean()

    covered = Score("covered", "Covered", "share of the image that the prediction covers", share)

What it cannot measure of a case is missing there: None, NaN and infinity without a word, a fault with a note in the
case's record. The name and version of its package are part of the record's key, so that a run which is resumed after
it was installed, updated or removed measures its cases again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from salip_exp import plugins
from salip_exp._wording import Style
from salip_exp.config import Doubt, EmptyTarget, ScoreConfig
from salip_exp.data.case import Case
from salip_exp.errors import EnvironmentFault
from salip_exp.evaluation.charges import STAGES
from salip_exp.evaluation.metrics import FACT, Overlap, dice, hd95, head_circumference, iou, surface_dice
from salip_exp.evaluation.statistics import SHARE, Bounds

if TYPE_CHECKING:  # it brings torch, which a report does without
    from salip_exp.methods.base import Prediction

_Compute = Callable[[Case, "Prediction", ScoreConfig], float | None]
_OfCounts = Callable[[Overlap, EmptyTarget], float]
_Mask = NDArray[np.bool_]
_Place = Literal["terminal", "page"]
_Lent = TypeVar("_Lent", Case, "Prediction")


@dataclass(frozen=True)
class Mean:
    """A mean that a score comes to in every part of a summary, with its deviation and interval.

    Attributes:
        name: its key in `summary.json`; empty: the score's name.
        title: for people, without the unit; empty: the score's title.
        terminal, page: how the table by group shows it there; None: not at all.
        absolute: of the score's size, whatever its sign.
        of_counts: makes it a mean over volumes: the figure of a volume, from the pixel counts of its slices added up.
        definition: of its own, where the score's does not say it.
    """

    name: str = ""
    title: str = ""
    terminal: Style | None = "counted"
    page: Style | None = "counted"
    absolute: bool = False
    of_counts: _OfCounts | None = None
    definition: str = ""


@dataclass(frozen=True)
class Score:
    """One measure of a prediction.

    Attributes:
        name: its key in records and summaries, and its column of `cases.csv`.
        title: for people, without the unit.
        definition: one line.
        compute: its value for a case, a prediction and the configuration's `score`; None where there is none.
        unit: e.g. `mm`; empty for a share.
        digits: behind the point, on terminal and pages.
        higher_is_better: None where neither end is.
        bounds: the least and the largest value it can have; None: its means have no interval.
        means: what it comes to in a summary; none: it stands in the records only.
        optional: few data sets have what it needs: where no case has it its means are None, and no column shows them.
        listed: a column of the cases on a run's page.
    """

    name: str
    title: str
    definition: str
    compute: _Compute
    unit: str = ""
    digits: int = 3
    higher_is_better: bool | None = None
    bounds: Bounds | None = None
    means: tuple[Mean, ...] = (Mean(),)
    optional: bool = False
    listed: bool = True

    @property
    def names(self) -> set[str]:
        """All keys that it takes in the files of a run."""
        return {self.name, *(mean.name or self.name for mean in self.means)}

    def headed(self, title: str = "") -> str:
        """A title of the score, its own by default, with its unit."""
        return f"{title or self.title} {self.unit}".strip()


def _against_target(metric: Callable[[_Mask, _Mask, Case, ScoreConfig], float]) -> _Compute:
    """A measure of prediction and target; None for a case without a target."""

    def compute(case: Case, prediction: Prediction, config: ScoreConfig) -> float | None:
        return None if case.mask is None else metric(prediction.mask, case.mask, case, config)

    return compute


@lru_cache(1)  # two scores ask for it one after the other, and it takes as long as all others
def _ellipse(mask: bytes, shape: tuple[int, int], spacing: tuple[float, float] | None) -> float | None:
    return head_circumference(np.frombuffer(mask, np.bool_).reshape(shape), spacing)


def _circumference(case: Case, prediction: Prediction, config: ScoreConfig) -> float | None:
    mask = prediction.mask
    return _ellipse(mask.tobytes(), mask.shape, case.spacing) if FACT in case.facts else None


def _circumference_error(case: Case, prediction: Prediction, config: ScoreConfig) -> float | None:
    found = _circumference(case, prediction, config)
    return None if found is None else found - case.facts[FACT]


_VOLUME_DSC = Mean(
    "volume_dsc",
    "DSC of volumes",
    page="counted spread",
    of_counts=Overlap.dice,
    definition="Dice of whole volumes (pixel counts of their slices added up), averaged over volumes",
)

BUILT_IN = (
    Score("dsc", "DSC", "Dice similarity coefficient per case, averaged over cases",
          _against_target(lambda mask, target, case, config: dice(mask, target, config.empty_target)),
          higher_is_better=True, bounds=SHARE, means=(Mean(terminal="spread", page="spread"), _VOLUME_DSC)),
    Score("iou", "IoU", "foreground IoU per case, averaged over cases (the paper's mIoU is read as this)",
          _against_target(lambda mask, target, case, config: iou(mask, target, config.empty_target)),
          higher_is_better=True, bounds=SHARE, means=(Mean(title="mIoU", terminal="mean", page="interval"),)),
    Score("hd95", "HD95", "95 % Hausdorff distance in mm; missing where a mask is empty or the pixel size is unknown",
          _against_target(lambda mask, target, case, config: hd95(mask, target, case.spacing)),
          unit="mm", digits=1, higher_is_better=False, means=(Mean(terminal=None),)),
    Score("nsd", "NSD", "surface Dice: share of both outlines that lies within score.tolerance_mm of the other",
          _against_target(lambda mask, target, case, config: surface_dice(
              mask, target, case.spacing, config.tolerance_mm, config.empty_target)),
          higher_is_better=True, bounds=SHARE, means=(Mean(terminal=None),)),
    Score("hc_mm", "HC", "circumference of the ellipse fitted to the prediction, where the data set gives the head's",
          _circumference, unit="mm", digits=1, means=(), listed=False),
    Score("hc_error_mm", "HC error",
          "circumference of the ellipse fitted to the prediction minus the data set's value, in mm",
          _circumference_error, unit="mm", digits=1, optional=True,
          means=(Mean("hc_error", terminal=None), Mean("hc_abs_error", "|HC error|", absolute=True))),
)  # fmt: skip

_RESERVED = {
    *(
        "case_id",
        "dataset",
        "group",
        "subject",
        "volume",
        "slice",
        "method",
        "status",
        "n_pool",
        "n_kept",
        "selected",
        "scores",
    ),
    *(
        *map(str, Doubt),
        *("dsc_at_least", "flag", "flag_reason", "flagged", "repaired", "dsc_before", "confidence_before"),
        "score_at",
        "roi_recall",
        "stress",
        "image",
        "mask",
        "prediction",
        "size",
        "axis",
        "key",
        "fingerprint",
        "version",
        "similarities",
        "work",
    ),
    *("boxes", "best_candidate_iou", "failure", "pixels_both", "pixels_predicted", "pixels_target", "message", "notes"),
    *(f"lost_{stage}" for stage in STAGES),
    *("cases", "subjects", "volumes", "statuses", "failures", "losses", "miou", "n", "number", "failed", "seconds"),
}
"""Names that stand beside scores in the files of a run, and in what is tracked of it."""


def scores() -> tuple[Score, ...]:
    """The built-in scores, then those of other installed packages by name.

    Raises:
        EnvironmentFault: a package gives no score, or one whose name is taken.
    """
    table: tuple[Score, ...] = BUILT_IN
    for name in plugins.installed("scores"):
        table = (*table, _checked(name, plugins.load("scores", name), table))
    return table


def means() -> list[tuple[Score, Mean]]:
    """Every mean of the scores with its score, named, and titled with its unit; those over volumes are the last."""
    found = [
        (score, replace(mean, name=mean.name or score.name, title=score.headed(mean.title)))
        for score in scores()
        for mean in score.means
    ]
    return sorted(found, key=lambda each: each[1].of_counts is not None)


def measure(case: Case, prediction: Prediction, config: ScoreConfig) -> tuple[dict[str, float | None], list[str]]:
    """Every score of a prediction by name, and a note on each of another package that could not be computed."""
    values = {each.name: _finite(each.compute(case, prediction, config)) for each in BUILT_IN}
    notes = []
    lent = _read_only(case), _read_only(prediction)
    for each in scores()[len(BUILT_IN) :]:
        try:
            values[each.name] = _finite(each.compute(*lent, config))
        except Exception as error:  # it is somebody else's code, and may fail in any way
            values[each.name] = None
            notes.append(" ".join(f"score {each.name} is missing: {type(error).__name__}: {error}".split()))
    return values, notes


def shown(summary: Mapping[str, Any], place: _Place) -> list[tuple[Mean, Style, int]]:
    """The means that a place shows of a summary, how, and with how many digits; not those its data set cannot have."""
    overall = summary["overall"]
    had = [
        (score, mean)
        for score, mean in means()
        if overall.get(mean.name) or not (overall["volumes"] is None if mean.of_counts else score.optional)
    ]
    styles = [(mean, getattr(mean, place), score.digits) for score, mean in had]
    return [each for each in styles if each[1] is not None]


def _read_only(lent: _Lent) -> _Lent:
    """The same with arrays that cannot be written: what is measured is what comes to disk."""
    arrays: dict[str, Any] = {name: each.view() for name, each in vars(lent).items() if isinstance(each, np.ndarray)}
    for array in arrays.values():
        array.flags.writeable = False
    return replace(lent, **arrays)


def _finite(value: float | None) -> float | None:
    """Raises TypeError for what is no number."""
    return float(value) if value is not None and math.isfinite(value) else None


def _checked(name: str, found: Any, table: Iterable[Score]) -> Score:
    source = f"{plugins.installed('scores')[name].value}, the entry point {name} of salip_exp.scores,"
    if not isinstance(found, Score) or found.name != name:
        raise EnvironmentFault(f"{source} is no Score of that name: mend or uninstall that package")
    taken = _RESERVED.union(*(each.names for each in table))
    wrong = [
        each for each in sorted(found.names) if each in taken or not each.isidentifier() or each.startswith("seconds_")
    ]
    if wrong:
        raise EnvironmentFault(f"{source} uses the name {wrong[0]!r}, which is taken or no identifier: rename it")
    return found
