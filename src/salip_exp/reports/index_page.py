"""`index.html`, the page over all runs and studies below a folder, and `compare.html` for any two of the runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from salip_exp import wording
from salip_exp.reports.inline import thumbnails
from salip_exp.reports.paired import LATEST, paired_differences
from salip_exp.reports.run_page import write_html
from salip_exp.runs.folder import RunFolder, StudyFolder
from salip_exp.settings.folders import File

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


def address(place: Path, start: Path) -> str:
    """The relative address of a file or folder, for links in a page that lies in `start`."""
    return quote(os.path.relpath(place, start).replace(os.sep, "/"))


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
