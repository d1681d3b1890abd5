"""What the measures of confidence in the records of cases are worth, where these have targets."""

from __future__ import annotations

from collections.abc import Sequence

from salip_exp._runs.records import CaseRecord, subjects_of
from salip_exp.config import Config, Doubt
from salip_exp.evaluation.risk import Detection, detection


def detections(records: Sequence[CaseRecord], config: Config, beside: Sequence[str] = ()) -> dict[str, Detection]:
    """What each measure of confidence is worth that any of the cases has together with a DSC.

    Args:
        records: of one run, or of several, also of the same images under stress: what a subject is stays one.
        config: which DSC is poor, and how intervals are made.
        beside: measures that are looked at, too, where cases have them.
    """
    had = [each for each in (*Doubt, *beside) if any(None not in (one.dsc, one.believed(each)) for one in records)]
    return {str(measure): detection_of(records, measure, [each.dsc for each in records], config) for measure in had}


def detection_of(
    records: Sequence[CaseRecord],
    measure: str,
    truth: Sequence[float | None],
    config: Config,
    threshold: float | None = None,
) -> Detection:
    """What one measure is worth for telling what is true of cases.

    Args:
        records: of the cases.
        measure: of confidence.
        truth: of each case, in [0, 1]: its DSC, or whether it was asked rightly.
        config: as in `detections`.
        threshold: below which a case is poor; None: `score.poor_below`.
    """
    score = config.score
    return detection(
        [each.believed(measure) for each in records],
        truth,
        subjects_in_pool(records),
        score.poor_below if threshold is None else threshold,
        score.resamples,
        score.confidence,
        config.seed,
    )


def subjects_in_pool(records: Sequence[CaseRecord]) -> list[str] | None:
    """Data set, group and subject of each case, so that two data sets share none; None unless each tells."""
    told = subjects_of(records)
    return None if told is None else [f"{a.dataset}/{name}" for a, name in zip(records, told, strict=True)]


def pairs_of(records: Sequence[CaseRecord], measure: str) -> tuple[list[float], list[float]]:
    """Confidence by a measure, and DSC, of the cases that have both."""
    found = [(told, each.dsc) for each in records if (told := each.believed(measure)) is not None]
    both = [(told, dsc) for told, dsc in found if dsc is not None]
    return [told for told, _ in both], [dsc for _, dsc in both]
