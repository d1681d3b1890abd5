"""`index.html`, the page over all runs and studies below a folder, and `compare.html` for any two of the runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from salip_exp import _wording as wording
from salip_exp._reports.page import address, thumbnails, write_html
from salip_exp._settings.folders import File
from salip_exp.evaluation.statistics import SHARE, Comparison, compare
from salip_exp.runs.folder import RunFolder, StudyFolder
from salip_exp.runs.records import CaseRecord, subjects_of

LATEST = 30  # runs of a data set: hundreds, two by two, would take minutes

REMEMBERED = 8192  # comparisons: those of 17 data sets with so many runs

Scores = tuple[tuple[str, str, float | None], ...]

"""Id, volume (empty: none) and DSC of every case."""


def paired_differences(runs: Sequence[tuple[str, RunFolder]]) -> list[dict[str, Any]]:
    """The mean of the paired difference B - A for any two of the latest runs of a data set; each with itself, too.

    Args:
        runs: with their names, the latest first.

    Returns:
        Ready for JSON: `a` and `b` by name; `n` common cases; `subjects` where some hold several, or None;
        `difference`, `low`, `high`. Pairs without a common case are left out.
    """
    datasets: dict[str, list[tuple[str, Scores]]] = {}
    for name, run in runs:
        if run.records:
            datasets.setdefault(run.records[0].dataset, []).append((name, _scores_of(run.records)))
    pairs = [pair for each in datasets.values() for pair in combinations_with_replacement(each[:LATEST], 2)]
    entries = [_difference(a, b, compared(ours, other)) for (a, ours), (b, other) in pairs]
    return [each for each in entries if each["n"]]


def _scores_of(records: Sequence[CaseRecord]) -> Scores:
    """What a comparison needs of cases; subjects count as in a run's summary."""
    subjects = subjects_of(records) or [""] * len(records)
    return tuple((each.case_id, subject, each.dsc) for each, subject in zip(records, subjects, strict=True))


@lru_cache(REMEMBERED)  # `report.watch` writes the page again and again, while most runs stay as they are
def compared(a: Scores, b: Scores) -> Comparison:
    """B less A over their common cases, with subjects where A tells them; runs of the same scores have no interval."""
    ours, other = ({name: dsc for name, _, dsc in each} for each in (b, a))
    subjects = {name: subject for name, subject, _ in a}
    return compare(ours, other, subjects if all(subjects.values()) else None, bounds=None if a == b else SHARE)


def _difference(a: str, b: str, found: Comparison) -> dict[str, Any]:
    shown = {"n": found.n, "difference": found.difference, "low": found.low, "high": found.high}
    return {"a": a, "b": b, "subjects": found.pairs if found.pairs < found.n else None, **shown}


PICTURES = 3  # of each run on the index


def write_index(outputs: Path, runs: Sequence[RunFolder], studies: Sequence[StudyFolder] = ()) -> None:
    """Write both pages.

    Args:
        outputs: the folder that all of them lie below.
        runs: a row each, the latest first.
        studies: a row each, in tables of their own.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    latest = sorted(runs, key=lambda run: str(run.manifest.get("started", "")), reverse=True)
    rows = [_row(run, outputs) for run in latest]
    listed = [_study(each, outputs) for each in studies]
    write_html(outputs / File.all_runs, "index.html.j2", rows=rows, studies=listed)
    choices = [{key: row[key] for key in ("name", "title", "folder")} for row in rows]
    paired = paired_differences([(row["name"], row["run"]) for row in rows])
    write_html(outputs / File.comparison, "compare.html.j2", runs=choices, paired=paired, latest=LATEST)


def _row(run: RunFolder, outputs: Path) -> dict[str, Any]:
    told = run.summary or _told(run)
    return {
        "run": run,
        "name": os.path.relpath(run.folder, outputs),
        "folder": address(run.folder, outputs),
        "link": address(run.folder / File.report, outputs),
        "title": _title(run),
        "weights": wording.weights(run.summary) if run.summary else "",
        "dataset": told.get("dataset", ""),
        "method": told.get("method", ""),
        "thumbnails": thumbnails(run.folder, run.pictures, PICTURES),
    }


def _told(run: RunFolder) -> dict[str, str]:
    """Data set and method of a run without a summary, as far as its cases say."""
    return {"dataset": run.records[0].dataset, "method": run.records[0].method} if run.records else {}


def _title(run: RunFolder) -> str:
    told = wording.title(run.summary) if run.summary else ""
    return told if run.label == "finished" else f"{told} {run.label}".strip()


def _study(study: StudyFolder, outputs: Path) -> dict[str, Any]:
    page = study.folder / File.study_page
    link = address(page, outputs) if page.exists() else None
    return {"study": study, "name": os.path.relpath(study.folder, outputs), "link": link}
