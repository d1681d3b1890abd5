"""From finished cells to the entries of a table: estimates by row, comparisons on common cases, p-values by Holm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from salip_exp._experiments.cell_runs import Unfinished
from salip_exp._experiments.cells import Finished
from salip_exp._experiments.cost import Cost, cost_of
from salip_exp._experiments.differing import Differing, differing
from salip_exp._experiments.ranking import Ranking, ranking
from salip_exp._paper import SALIP, Row, Score, Table
from salip_exp._runs.folder import read_json
from salip_exp._runs.records import CaseRecord, subjects_of
from salip_exp._settings.folders import File
from salip_exp.config import Config
from salip_exp.evaluation.statistics import Comparison, compare, holm

Outcomes = Mapping[tuple[str, str], Finished | Unfinished]
"""Results of cells by data set and column."""


@dataclass(frozen=True)
class Entry:
    """What one column shows in one row.

    Attributes:
        paper: DSC and mIoU as the paper prints them.
        state: `finished`, `failed` or `missing`.
        why: one sentence where there is no result.
        n: cases with a score, of `of`; None where nothing was run.
        dsc, iou: estimates as in `summary.json`; None where there is no result.
        scores: DSC by case.
        subjects: subject by case; None where records do not tell.
        charges: DSC lost by stage, by case, of those whose records tell.
        comparison: with the table's `against` column, on common cases.
        p: of that comparison, corrected over the table.
        folder: of the run.
        cost: of a case, in a table that tells it.
    """

    paper: Score
    state: str
    why: str = ""
    n: int | None = None
    of: int | None = None
    dsc: Mapping[str, Any] | None = None
    iou: Mapping[str, Any] | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    subjects: Mapping[str, str] | None = None
    charges: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    comparison: Comparison | None = None
    p: float | None = None
    folder: Path | None = None
    cost: Cost | None = None

    @property
    def mean(self) -> float | None:
        """Mean DSC."""
        return None if self.dsc is None else self.dsc["mean"]


Rows = Sequence[tuple[Row, Mapping[str, Entry]]]
"""Rows of a table with their entries by column."""


@dataclass(frozen=True)
class Result:
    """A table with its entries, row by row and in each by column, in what its columns differ, and how they rank
    candidates, if it tells.
    """

    table: Table
    rows: Rows
    differing: Sequence[Differing] = ()
    rankings: Sequence[Ranking] = ()


def result_of(table: Table, outcomes: Outcomes, config: Config) -> Result:
    """The table's entries from the outcomes of its cells.

    Args:
        outcomes: of all cells; one that is not there was not reached.
        config: of the experiment: how intervals are made.
    """
    rows: list[tuple[Row, Mapping[str, Entry]]] = []
    for row in table.rows:
        cells = {key: outcomes.get((row.dataset, key)) for key in table.columns}
        entries = _unmixed({key: _entry(row, key, cell) for key, cell in cells.items()}, cells)
        if table.cost:
            costs = {key: cost_of(cell) for key, cell in cells.items() if isinstance(cell, Finished)}
            entries = {key: replace(entry, cost=costs.get(key)) for key, entry in entries.items()}
        if table.against is None:
            entries = entries | {SALIP: _entry(row, SALIP, outcomes.get((row.dataset, SALIP)))}
        rows.append((row, entries))
    shown = _shown(corrected(rows, table.against or SALIP, config), table)
    rankings = list(_rankings(table, outcomes, config)) if table.rankings else ()
    return Result(table, shown, differing(table, outcomes), rankings)


def _rankings(table: Table, outcomes: Outcomes, config: Config) -> Iterator[Ranking]:
    """Of every column in every row that has a result, beside `against`."""
    for row in table.rows:
        ours = outcomes.get((row.dataset, str(table.against)))
        for key, column in table.columns.items():
            other = outcomes.get((row.dataset, key))
            if key != table.against and isinstance(ours, Finished) and isinstance(other, Finished):
                titles = table.columns[str(table.against)].title, column.title
                yield ranking(row.label, titles, ours, other, config)


def comparison(ours: Entry, other: Entry, config: Config) -> Comparison | None:
    """The paired comparison of two entries on their common cases, `ours` less `other`; None without any."""
    if not set(ours.scores) & set(other.scores):
        return None
    score = config.score
    return compare(ours.scores, other.scores, ours.subjects, score.resamples, score.confidence, config.seed)


def _entry(row: Row, key: str, cell: Finished | Unfinished | None) -> Entry:
    paper = row.paper.get(key, (None, None))
    if cell is None:
        return Entry(paper, "missing", "it was not run yet: the same command continues")
    if isinstance(cell, Unfinished):
        return Entry(paper, cell.state, cell.why, cell.n, cell.of, folder=cell.folder)
    summary = read_json(cell.folder / File.summary) or {}
    part = summary.get("overall") if row.group is None else summary.get("groups", {}).get(row.group)
    if part is None:
        return Entry(paper, "missing", f"no case of the group {row.group}", 0, 0, folder=cell.folder)
    records = [each for each in cell.records if row.group is None or each.group == row.group]
    n, of = part["dsc"]["n"], part["cases"]
    if n == 0:
        return Entry(paper, "missing", "no case has a score", n, of, folder=cell.folder)
    scores = {each.case_id: each.dsc for each in records if each.dsc is not None}
    charges = {each.case_id: each.charges for each in records if each.charges}
    estimates = part["dsc"], part.get("iou")
    return Entry(paper, "finished", "", n, of, *estimates, scores, _subjects(records), charges, folder=cell.folder)


def _subjects(records: Sequence[CaseRecord]) -> dict[str, str] | None:
    subjects = subjects_of(records)
    return dict(zip((each.case_id for each in records), subjects, strict=True)) if subjects else None


def _unmixed(entries: dict[str, Entry], cells: Mapping[str, Finished | Unfinished | None]) -> dict[str, Entry]:
    """The entries of a row; one made of other images than those before it is refused."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    kept = {}
    for key, entry in entries.items():
        cell = cells[key]
        kept[key] = entry
        if not isinstance(cell, Finished) or entry.state != "finished":
            continue
        section = json.dumps(asdict(cell.config.dataset), sort_keys=True)
        for record in cell.records:
            before, fingerprint = seen.setdefault((section, record.case_id), (key, record.fingerprint))
            if record.fingerprint and fingerprint and record.fingerprint != fingerprint:
                why = f"case {record.case_id} is another image than in column {before}: run both again"
                kept[key] = Entry(entry.paper, "failed", why, folder=cell.folder)
                break
    return kept


def corrected(given: Rows, against: str, config: Config) -> list[tuple[Row, Mapping[str, Entry]]]:
    """The rows with every column compared with `against`, and p-values corrected over all of them."""
    rows = [
        (row, {key: _compared(entry, entries[against], config) for key, entry in entries.items()})
        for row, entries in given
    ]
    found = [
        None if entry.comparison is None else entry.comparison.p for _, entries in rows for entry in entries.values()
    ]
    ps = iter(holm(found))
    return [(row, {key: replace(entry, p=next(ps)) for key, entry in entries.items()}) for row, entries in rows]


def _compared(entry: Entry, against: Entry, config: Config) -> Entry:
    """The entry with its comparison; none with itself, whatever its column is called."""
    if entry is against or entry.state != "finished" or (entry.folder is not None and entry.folder == against.folder):
        return entry
    return replace(entry, comparison=comparison(against, entry, config))


def _shown(rows: Rows, table: Table) -> list[tuple[Row, Mapping[str, Entry]]]:
    """The rows without what they were only compared with."""
    return [(row, {key: entries[key] for key in table.columns}) for row, entries in rows]
