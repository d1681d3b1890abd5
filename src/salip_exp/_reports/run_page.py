"""The page of one run, `report.html`, a file that needs no other and opens from the file system; and `cases.js`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from salip_exp import _wording as wording
from salip_exp._files import YAML, atomic_write, read_file
from salip_exp._paper import paper_scores
from salip_exp._reports._differences import difference
from salip_exp._reports.page import embedded, pictures_by_case, safe_json, write_html
from salip_exp._reports.run_tables import BELIEFS, volume_rows
from salip_exp._settings.folders import File
from salip_exp.data._left_out import told_of
from salip_exp.evaluation.charges import STAGES
from salip_exp.evaluation.scores import Score, means, scores, shown
from salip_exp.runs._volumes import read_volumes
from salip_exp.runs.folder import RunFolder, read_run
from salip_exp.runs.records import CaseRecord, by_doubt

LEFT, WIDTH, ROW, TOP = 150, 560, 34, 8

_LAYERS = 7  # dots of a row are spread over this many heights, in order


def distribution(records: Sequence[CaseRecord], groups: Mapping[str, Any]) -> Markup:
    """One row per group on an axis from 0 to 1; colours come from the page's style sheet.

    Args:
        records: of the run; those without a score are not drawn.
        groups: `groups` of the run's summary.
    """
    height = TOP + ROW * len(groups) + 24
    parts = [_axis(height)]
    for i, (name, part) in enumerate(groups.items()):
        scores = [each.dsc for each in records if each.group == name and each.dsc is not None]
        parts.append(_dots_of_group(TOP + ROW * i + ROW / 2, name, scores, part["dsc"]))
    return Markup(
        '<svg class="chart distribution" role="img" aria-label="DSC by group" viewBox="0 0 {} {}">{}</svg>'
    ).format(LEFT + WIDTH + 20, height, Markup("").join(parts))


def _axis(height: int) -> Markup:
    ticks = [
        Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><text x="{0}" y="{3}">{4}</text>').format(
            _x(tick / 5), TOP, height - 20, height - 6, f"{tick / 5:.1f}"
        )
        for tick in range(6)
    ]
    return Markup("").join(ticks)


def _dots_of_group(y: float, name: str, scores: Sequence[float], estimate: Mapping[str, Any]) -> Markup:
    dots = [
        Markup('<circle cx="{}" cy="{:.1f}" r="2.6"/>').format(_x(score), y + (i % _LAYERS - _LAYERS // 2) * 3)
        for i, score in enumerate(scores)
    ]
    label = Markup('<text class="name" x="{}" y="{:.1f}">{}</text>').format(LEFT - 12, y + 4, escape(name))
    return label + Markup("").join(dots) + _mean(y, estimate)


def _mean(y: float, estimate: Mapping[str, Any]) -> Markup:
    if estimate["mean"] is None:
        return Markup("")
    return Markup(
        '<line class="interval" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<line class="mean" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    ).format(_x(estimate["low"]), _x(estimate["high"]), y=y, x=_x(estimate["mean"]), top=y - 11, bottom=y + 11)


def _x(score: float) -> str:
    return f"{LEFT + WIDTH * score:.1f}"


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
    Column("case", "id", lambda case: case.case_id),
    Column("group", "text", lambda case: case.group),
)

REST = (
    *(Column(words, "number", _belief(name)) for name, words in BELIEFS.items()),
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
            "dsc": _rounded(each.dsc),
            "failure": each.failure,
            "pixels": each.fingerprint[:12],
            "files": files.get(each.case_id, []),
        }
        for each in run.records
    ]
    content = {"dataset": run.records[0].dataset if run.records else "", "cases": cases}
    atomic_write(run.folder / File.case_script, f"salip.cases({safe_json(content)});\n")


def _value(column: Column, record: CaseRecord) -> Any:
    value = column.value(record)
    return _rounded(value) if column.kind == "number" else value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def write_page(folder: Path) -> None:
    """Write the page of a run folder, whatever state the run is in, and `cases.js` beside it.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    write_run_page(read_run(folder))


def write_run_page(run: RunFolder, index: str | None = None) -> None:
    """Write `report.html` and `cases.js` of a run that has been read.

    Args:
        run: as read.
        index: the relative address of the page over all runs, where there is one.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    pictures = embedded(run.folder, run.pictures)
    doubt = run.summary.get("doubt") if run.summary else None
    _caption(pictures, run.records, doubt)
    numbers = {entry["case_id"]: entry["number"] for kind in ("strips", "figures") for entry in pictures[kind]}
    named = sum(map(len, run.pictures.values()))
    config = run.folder / File.config
    scored = not run.summary or run.summary["overall"]["dsc"]["n"] > 0
    write_html(
        run.folder / File.report,
        "run.html.j2",
        run=run,
        index=index,
        title=wording.title(run.summary) if run.summary else "/".join(run.folder.absolute().parts[-3:]),
        left_out=told_of(run.manifest["data"].get("left_out", ())) if run.manifest else (),
        columns=shown(run.summary, "page") if run.summary else (),
        paper=_paper(run.summary),
        directions=_directions(),
        pictures=pictures,
        unshown=named - sum(map(len, pictures.values())),
        scored=scored,
        distribution=distribution(run.records, run.summary["groups"]) if run.summary else None,
        seconds=_seconds(run),
        doubt=BELIEFS.get(doubt or ""),
        confidence=[(name, words) for name, words in BELIEFS.items() if name in run.summary.get("overall", {})],
        files=[(name, said) for name, said in _FILES if (run.folder / name).exists()] if run.summary else (),
        volumes=volume_rows(read_volumes(run.folder)),
        cases=case_table(run.records, numbers, scored, doubt),
        failed=sum(record.failed for record in run.records),
        difference=difference(config),
        config=_text(config),
    )
    write_cases(run)


_FILES = (
    (File.masks, "masks at the size of the images"),
    (File.case_table, "a row for each case"),
    (File.volume_table, "a row for each volume"),
    (File.candidate_table, "a row for each candidate"),
    (File.summary, "what they come to"),
)
"""What a user takes along from a run, and what it is."""
_IN_DOUBT = {"worst": "most in doubt", "median": "in the middle", "best": "least in doubt"}
"""What rules that choose pictures are called where nothing is scored."""


def _caption(pictures: Mapping[str, list[dict[str, Any]]], records: Sequence[CaseRecord], doubt: str | None) -> None:
    """Say below pictures by which rule they were chosen and, where nothing is scored, how much in doubt they are."""
    believed = {each.case_id: each.believed(doubt or "") for each in records}
    for entry in (each for kind in pictures.values() for each in kind):
        rule, _, rank = str(entry["rule"]).partition("_")
        value = believed.get(entry["case_id"])
        said = f" · {BELIEFS[doubt]} {value:.3f}" if doubt and value is not None else ""
        entry["rule"] = " ".join(filter(None, (_IN_DOUBT.get(rule, rule) if doubt else rule, rank.lstrip("0"))))
        entry["belief"] = said


def _text(config: Path) -> str:
    """What a `config.yaml` says; nothing where it cannot be read."""
    try:
        return read_file(config, YAML).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _paper(summary: Mapping[str, Any]) -> dict[str, dict[str | None, float]]:
    """What the paper gives for the run's method, by mean and group (None: all); empty where it gives nothing."""
    groups: list[str | None] = [*summary.get("groups", ()), None]
    found = {name: paper_scores(summary["dataset"], name, summary["method"]) for name in groups if summary}
    given = {name: each for name, each in found.items() if each is not None}
    return {mean: {name: each[i] for name, each in given.items()} for i, mean in enumerate(("dsc", "iou")) if given}


def _directions() -> dict[str, str]:
    """Which end is the better one, by mean, where one is."""
    words = {True: "; higher is better", False: "; lower is better"}
    return {mean.name: words[score.higher_is_better] for score, mean in means() if score.higher_is_better is not None}


def _seconds(run: RunFolder) -> dict[str, float]:
    """Seconds that cases took, by stage."""
    total: Counter[str] = Counter()
    for record in run.records:
        total.update(record.seconds)
    return {stage: seconds for stage, seconds in total.items() if stage != "total"}
