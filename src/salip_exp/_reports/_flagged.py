"""Strips of what was flagged in a pool of failures: the most doubtful cases of each data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from salip_exp._experiments.cells import Finished
from salip_exp._files import atomic_write, png
from salip_exp._reports.strips import strip_of
from salip_exp._runs.records import CaseRecord, scored_case
from salip_exp._wording import number

_log = logging.getLogger(__name__)
_MOST = 2
"""Strips of each data set, of cases that were asked rightly, and of wrong questions."""


def write_flagged(folder: Path, cells: Sequence[Finished]) -> list[dict[str, Any]]:
    """Draw the cascade of the flagged cases with the least confidence as `flagged_<n>.png`.

    Finished runs that joined the pool lend no networks: their strips are on their own pages.

    Args:
        folder: of the experiment.
        cells: of the pool.

    Returns:
        An entry for each, as `paper_figures.draw_figures` gives them; what cannot be drawn says why.
    """
    chosen = [pair for wrong in (False, True) for pair in _chosen(cells, wrong)]
    return [_drawn(folder, f"flagged_{i}", *pair) for i, pair in enumerate(chosen, start=1)]


def _chosen(cells: Sequence[Finished], wrong: bool) -> list[tuple[Finished, CaseRecord]]:
    """The most doubtful flagged cases of each data set."""
    found: dict[str, list[tuple[Finished, CaseRecord]]] = {}
    for cell in cells:
        if cell.config.dataset.absent is wrong:
            flagged = [each for each in cell.records if each.flag is not None and each.n_pool is not None]
            found.setdefault(cell.cell.dataset, []).extend((cell, each) for each in flagged)
    return [pair for each in found.values() for pair in sorted(each, key=lambda pair: _doubt(pair[1]))[:_MOST]]


def _doubt(record: CaseRecord) -> float:
    return record.believed("confidence") or 0.0


def _drawn(folder: Path, name: str, cell: Finished, record: CaseRecord) -> dict[str, Any]:
    what = f"{cell.cell.dataset} {cell.cell.column}, {record.case_id}"
    rule = f"flagged ({record.flag}), confidence {number(record.believed('confidence'))}, DSC {number(record.dsc)}"
    entry = {"name": name, "title": what, "rule": f"{what}: {rule}", "cases": [record.case_id], "notes": []}
    try:
        ref = next(each for each in cell.refs if each.case_id == record.case_id)
        strip = strip_of(cell.folder, scored_case(ref, record), cell.build(), record, cell.config)
        atomic_write(folder / f"{name}.png", png(np.asarray(strip)))
    except Exception as error:  # a picture must not cost an experiment its tables
        _log.exception("strip of %s", what)
        return entry | {"file": None, "notes": [f"not drawn: {type(error).__name__}: {error}"]}
    return entry | {"file": f"{name}.png"}
