"""`task=report`: one page over all runs, and a page for each."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from salip_exp.config import Config
from salip_exp.errors import DataError
from salip_exp.reporting.folders import find_runs
from salip_exp.reporting.page import write_index, write_run_page
from salip_exp.reporting.table import shown, wide_console


def report(config: Config) -> int:
    """Write `index.html` below `outputs`, and `report.html` in every run folder there; returns 0.

    Raises:
        DataError: there is no run to report on.
        EnvironmentFault: a page cannot be written.
    """
    outputs = Path(config.outputs)
    runs, studies = find_runs(outputs), sorted(outputs.rglob("study.html"))
    if not runs and not studies:
        raise DataError(f"no run lies below {outputs}: make one (python -m salip_exp), or name another outputs=DIR")
    for run in runs:
        write_run_page(run)
    write_index(outputs, runs, studies)
    labels = [run.label for run in runs]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
    found = [f"{len(runs)} runs ({counts})"] * bool(runs) + [f"{len(studies)} studies"] * bool(studies)
    wide_console().print(Text(f"{', '.join(found)}: {shown(outputs / 'index.html')}"))
    return 0
