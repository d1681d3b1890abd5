"""Reverse accuracy of the predictions of cells: a rival that is given labels of other cases of the same data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from salip_exp._experiments.cells import Finished
from salip_exp._runs.records import CaseRecord, scored_case, scored_mask
from salip_exp.data.case import CaseRef
from salip_exp.errors import CaseError
from salip_exp.evaluation._reverse import Reference, reference_of, reverse_accuracy

REVERSE = "reverse accuracy (uses labels)"
"""Its name among the measures of confidence."""
_MOST = 8
"""References of a data set: its first cases with a target, as they are without stress."""
_log = logging.getLogger(__name__)


def with_reverse(cells: Sequence[Finished]) -> list[Finished]:
    """The cells with the reverse accuracy of each prediction, of those that were asked rightly.

    No case is measured by a reference of its own subject; one that cannot be read again has none.
    """
    references = {cell.cell.dataset: _references(cell) for cell in cells if not cell.config.stress and _asked(cell)}
    return [
        replace(cell, records=_measured(cell, references.get(cell.cell.dataset, []))) if _asked(cell) else cell
        for cell in cells
    ]


def _asked(cell: Finished) -> bool:
    return not cell.config.dataset.absent


def _references(cell: Finished) -> list[Reference]:
    found: list[Reference] = []
    for ref in cell.refs[: 2 * _MOST]:
        try:
            case = ref.load()
        except CaseError as error:
            _log.warning("%s is no reference: %s", ref.case_id, error)
            continue
        if case.mask is not None and case.mask.any():
            found.append(reference_of(_subject(ref), case.image, case.mask))
    return found[:_MOST]


def _measured(cell: Finished, references: Sequence[Reference]) -> list[CaseRecord]:
    refs = {each.case_id: each for each in cell.refs} if references else {}
    return [_of(cell, each, refs.get(each.case_id), references) for each in cell.records]


def _of(cell: Finished, record: CaseRecord, ref: CaseRef | None, references: Sequence[Reference]) -> CaseRecord:
    if ref is None or record.failed:
        return record
    try:
        case, mask = scored_case(ref, record), scored_mask(cell.folder, record)
    except CaseError as error:
        _log.warning("%s has no reverse accuracy: %s", record.case_id, error)
        return record
    found = reverse_accuracy(reference_of(_subject(ref), case.image, mask), references)
    return record if found is None else replace(record, confidence=record.confidence | {REVERSE: found})


def _subject(ref: CaseRef) -> str:
    return f"{ref.group}/{ref.subject}"
