"""The cases of a run as data that a page's script turns into rows, and the same scores for comparing two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from salip_exp.evaluation.scores import Score, scores
from salip_exp.files import atomic_write
from salip_exp.reports.inline import pictures_by_case
from salip_exp.runs.folder import RunFolder
from salip_exp.runs.records import CaseRecord
from salip_exp.settings.folders import File


@dataclass(frozen=True)
class Column:
    """A column of the table: `kind` is what page.js makes of the value (id, text, message, number or picture)."""

    title: str
    kind: str
    value: Callable[[CaseRecord], Any]
    digits: int = 3


IDENTITY = (
    Column("case", "id", lambda case: case.case_id),
    Column("group", "text", lambda case: case.group),
)

REST = (
    Column("lost by", "text", lambda case: case.failure),
    Column("status", "text", lambda case: case.status),
    Column("why", "message", lambda case: case.message),
    Column("pool", "number", lambda case: case.n_pool, 0),
    Column("kept", "number", lambda case: case.n_kept, 0),
    Column("best IoU in pool", "number", lambda case: case.best_candidate_iou),
    Column("seconds", "number", lambda case: case.seconds.get("total"), 2),
)
ALWAYS = ("case", "group", "DSC", "lost by", "status")
"""Columns that stay where no case has a value."""


def columns() -> Iterator[Column]:
    """All columns, those of the scores after what the case is."""
    yield from IDENTITY
    yield from (_column(score) for score in scores() if score.listed)
    yield from REST


def _column(score: Score) -> Column:
    return Column(score.headed(), "number", lambda case: case.scores.get(score.name), score.digits)


def case_table(records: Sequence[CaseRecord], pictures: Mapping[str, int]) -> dict[str, Any]:
    """Columns and rows, ready for JSON; a column without any value is left out.

    Args:
        records: of the run.
        pictures: number of the picture on the page, by case id.
    """
    shown = [column for column in columns() if column.title in ALWAYS or any(map(column.value, records))]
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
            "dsc": _rounded(each.dsc),
            "failure": each.failure,
            "pixels": each.fingerprint[:12],
            "files": files.get(each.case_id, []),
        }
        for each in run.records
    ]
    content = {"dataset": run.records[0].dataset if run.records else "", "cases": cases}
    atomic_write(run.folder / File.case_script, f"salip.cases({safe_json(content)});\n")


def safe_json(content: Any) -> Markup:
    """JSON that may stand in a script of a page: what could end the script is written as escapes."""
    return htmlsafe_json_dumps(content, separators=(",", ":"), allow_nan=False)


def _value(column: Column, record: CaseRecord) -> Any:
    value = column.value(record)
    return _rounded(value) if column.kind == "number" else value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
