"""Which cases a figure shows: every one by a rule, none by hand. Where several are equal, the first of the data.

Cases are given as records in the order of the data; those without a score are never chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salip_exp.evaluation.attribution import Failure
from salip_exp.runs.records import CaseRecord

RULES = {
    "fig3": "per data set, the case whose DSC by SaLIP is nearest to the median of the data set",
    "fig4": "per data set, the lowest DSC among the cases that SAM lost: no candidate has an IoU of 0.5 with a region",
    "fig5": "per data set, the lowest DSC among the cases where CLIP took two candidates of one region and missed "
    "another, and the lowest among those where it missed one otherwise",
    "fig6": "per data set, the case whose DSC the area filter changes most",
}
"""What each figure's choice is, in words."""


def nearest_to_median(records: Sequence[CaseRecord]) -> CaseRecord | None:
    """The case whose DSC is nearest to the median; None where no case has a score."""
    scored = [record for record in records if record.dsc is not None]
    if not scored:
        return None
    middle = float(np.median([record.dsc or 0.0 for record in scored]))
    return min(scored, key=lambda record: round(abs((record.dsc or 0.0) - middle), 9))  # equal but for the last bits


def lowest(records: Sequence[CaseRecord], failure: Failure) -> CaseRecord | None:
    """The case with the lowest DSC of a failure class; None where there is none of it."""
    lost = [record for record in records if record.dsc is not None and record.failure == failure]
    return min(lost, key=lambda record: record.dsc or 0.0, default=None)


def most_changed(before: Sequence[CaseRecord], after: Sequence[CaseRecord]) -> tuple[CaseRecord, CaseRecord] | None:
    """Both records of the case whose DSC differs most between two runs; None where no common case differs."""
    later = {record.case_id: record for record in after if record.dsc is not None}
    pairs = [(each, later[each.case_id]) for each in before if each.dsc is not None and each.case_id in later]
    pair = max(pairs, key=change, default=None)
    return pair if pair is not None and change(pair) > 0 else None


def change(pair: tuple[CaseRecord, CaseRecord]) -> float:
    """How far the scores of two records lie apart."""
    return abs((pair[0].dsc or 0.0) - (pair[1].dsc or 0.0))
