"""The cases of a run: the table on its page, and `cases.js` for the comparison of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from salip_exp._files import atomic_write
from salip_exp._reports.charts import NARROWEST, axis
from salip_exp._reports.page import pictures_by_case, safe_json
from salip_exp._reports.run_tables import BELIEFS, SHOWN
from salip_exp._runs.folder import RunFolder
from salip_exp._runs.records import CaseRecord, by_doubt
from salip_exp._settings.differences import told_by
from salip_exp._settings.folders import File
from salip_exp.evaluation.charges import STAGES
from salip_exp.evaluation.scores import Score, scores


@dataclass(frozen=True)
class Column:
    """A column of the table: `kind` is what page.js makes of the value (id, text, message, number or picture)."""

    title: str
    kind: str
    value: Callable[[CaseRecord], Any]
    digits: int = 3


def _charge(stage: str) -> Callable[[CaseRecord], float | None]:
    return lambda case: case.charges.get(stage)


def _belief(measure: str) -> Callable[[CaseRecord], float | None]:
    return lambda case: case.believed(measure)


IDENTITY = (
    Column("case", "case", lambda case: case.case_id),
    Column("group", "text", lambda case: case.group),
)

REST = (
    *(Column(words, "number", _belief(name)) for name, words in BELIEFS.items() if name in SHOWN),
    Column("DSC at least", "number", lambda case: case.scores.get("dsc_at_least")),
    Column("flagged", "text", lambda case: case.flag),
    Column("repaired by", "text", lambda case: case.repaired),
    Column("DSC before", "number", lambda case: case.before.get("dsc")),
    Column("lost by", "text", lambda case: case.failure),
    Column("status", "text", lambda case: case.status),
    Column("why", "message", lambda case: case.message),
    Column("pool", "number", lambda case: case.n_pool, 0),
    Column("kept", "number", lambda case: case.n_kept, 0),
    Column("best IoU in pool", "number", lambda case: case.best_candidate_iou),
    *(Column(f"lost by {stage}", "number", _charge(stage)) for stage in STAGES),
    Column("seconds", "number", lambda case: case.seconds.get("total"), 2),
)

_ALWAYS = ("case", "group", "status")
"""Columns that stay where no case has a value."""
_OF_SCORES = ("DSC", "lost by")
"""The same of a run whose cases have targets."""


def columns() -> Iterator[Column]:
    """All columns, those of the scores after what the case is."""
    yield from IDENTITY
    yield from (_column(score) for score in scores() if score.listed)
    yield from REST


def _column(score: Score) -> Column:
    return Column(score.headed(), "number", lambda case: case.scores.get(score.name), score.digits)


def case_table(
    records: Sequence[CaseRecord], pictures: Mapping[str, int], scored: bool = True, doubt: str | None = None
) -> dict[str, Any]:
    """Columns and rows, ready for JSON; a column without any value is left out.

    Args:
        records: of the run.
        pictures: number of the picture on the page, by case id.
        scored: whether any case has a target.
        doubt: the measure that the rows are sorted by where none has.
    """
    always = (*_ALWAYS, *(_OF_SCORES if scored else ()))
    if doubt is not None:
        records = by_doubt(records, doubt)
    shown = [column for column in columns() if column.title in always or any(map(column.value, records))]
    heads = [{"title": each.title, "kind": each.kind, "digits": each.digits} for each in shown]
    rows = [[_value(column, record) for column in shown] for record in records]
    if pictures:
        heads.append({"title": "picture", "kind": "picture", "digits": 0})
        rows = [[*row, pictures.get(record.case_id)] for row, record in zip(rows, records, strict=True)]
    return {"columns": heads, "rows": rows}


def write_cases(run: RunFolder) -> None:
    """Write `cases.js`: what `compare.html` needs of a run, as a script, since pages cannot read files otherwise.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    files = pictures_by_case(run.pictures)
    cases = [
        {
            "id": each.case_id,
            "group": each.group,
            "dsc": rounded(each.dsc),
            "failure": each.failure,
            "pixels": each.fingerprint[:12],
            "files": files.get(each.case_id, []),
        }
        for each in run.records
    ]
    told = told_by(run.folder)
    known = [each.dsc for each in run.records if each.dsc is not None]
    content = {
        "dataset": run.records[0].dataset if run.records else "",
        "told": None if told is None else asdict(told),
        "axis": asdict(axis(known, 0.0, 1.0, NARROWEST)) if known else None,
        "cases": cases,
    }
    atomic_write(run.folder / File.case_script, f"salip.cases({safe_json(content)});\n")


def _value(column: Column, record: CaseRecord) -> Any:
    value = column.value(record)
    return rounded(value) if column.kind == "number" else value


def rounded(value: float | None) -> float | None:
    """A number of a page, of five digits."""
    return None if value is None else round(value, 5)
