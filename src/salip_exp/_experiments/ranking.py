"""How another text changes what CLIP says of the same candidates: another choice, another order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from salip_exp._experiments.cells import Finished
from salip_exp._runs.candidates import Table, read_table
from salip_exp._runs.records import CaseRecord, StaleRecord
from salip_exp.config import Config
from salip_exp.evaluation.statistics import SHARE, Bounds, estimate

_CORRELATION: Bounds = (-1.0, 1.0)
_NAMED = 5
"""Cases that are named, those whose DSC changes most."""


@dataclass(frozen=True)
class Ranking:
    """A column beside the one that it is compared with, on cases whose candidates both have.

    Attributes:
        label: of the row.
        column: its title.
        beside: the title of the other one.
        n: cases.
        same: share of cases in which the same candidates are chosen.
        likeness: Spearman's correlation of the two texts' scores over the candidates of a case, mean over cases.
        place: of what that other one chose first, in this one's order, mean over cases; 1 is the first.
        changed: cases with another choice, those whose DSC changes most: case and both DSC.
    """

    label: str
    column: str
    beside: str
    n: int
    same: Mapping[str, Any]
    likeness: Mapping[str, Any]
    place: float | None
    changed: Sequence[tuple[str, float | None, float | None]]


@dataclass(frozen=True)
class _Pair:
    """A case with both texts."""

    ours: CaseRecord
    other: CaseRecord
    likeness: float | None
    place: int

    @property
    def same(self) -> bool:
        return set(self.ours.selected) == set(self.other.selected)

    @property
    def change(self) -> float:
        return abs((self.ours.dsc or 0.0) - (self.other.dsc or 0.0))


def ranking(label: str, titles: tuple[str, str], ours: Finished, other: Finished, config: Config) -> Ranking:
    """How `other` ranks what `ours` ranked; the titles are those of their columns, in this order."""
    pairs = list(_pairs(ours, other))
    subjects = [each.ours.subject for each in pairs]
    told = [each for each in subjects if each is not None]
    clusters = told if len(told) == len(pairs) else None
    score = config.score

    def mean(values: Sequence[float | None], bounds: Bounds) -> dict[str, Any]:
        return estimate(values, clusters, score.resamples, score.confidence, config.seed, bounds).to_dict()

    changed = sorted((each for each in pairs if not each.same), key=lambda each: each.change, reverse=True)
    return Ranking(
        label=label,
        column=titles[1],
        beside=titles[0],
        n=len(pairs),
        same=mean([float(each.same) for each in pairs], SHARE),
        likeness=mean([each.likeness for each in pairs], _CORRELATION),
        place=float(np.mean([each.place for each in pairs])) if pairs else None,
        changed=[(each.ours.case_id, each.ours.dsc, each.other.dsc) for each in changed[:_NAMED]],
    )


def _pairs(ours: Finished, other: Finished) -> Iterator[_Pair]:
    known = {each.case_id: each for each in other.records}
    for record in ours.records:
        against = known.get(record.case_id)
        if against is None or not record.selected:
            continue
        before, after = _candidates(ours, record), _candidates(other, against)
        if before is not None and after is not None and _alike(before, after):
            yield _Pair(record, against, *_order(before, after, record.selected[0]))


def _candidates(cell: Finished, record: CaseRecord) -> Table | None:
    try:
        return read_table(cell.folder, record)
    except StaleRecord:
        return None


def _alike(ours: Table, other: Table) -> bool:
    """Whether two pools are one, of which CLIP saw the same."""
    names = ["candidate", "kept", "area"]
    return len(ours) == len(other) and all(np.array_equal(ours[name], other[name]) for name in names)


def _order(ours: Table, other: Table, first: int) -> tuple[float | None, int]:
    """The likeness of two orders, None where one has no order, and the place of a candidate in the second."""
    kept = ours["kept"]
    before, after = ours["score"][kept].astype(float), other["score"][kept].astype(float)
    place = 1 + int((after > other["score"][ours["candidate"] == first]).sum())
    if min(len(set(before)), len(set(after))) < 2:
        return None, place
    return float(spearmanr(before, after).statistic), place


def told(found: Ranking) -> str:
    """One sentence on a column in a row."""
    if not found.n:
        return f"{found.column} on {found.label}: not told, as no case has the candidates of both."
    likeness = found.likeness["mean"]
    order = "missing" if likeness is None else f"{likeness:.2f}"
    return (
        f"{found.column} on {found.label}: the same choice in {100 * found.same['mean']:.0f} % of {found.n} cases, "
        f"correlation of scores {order}, what {found.beside} chose at place {found.place:.1f} on average."
    )
