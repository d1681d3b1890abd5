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
    runs = find_runs(outputs)
    if not runs:
        raise DataError(f"no run lies below {outputs}: make one (python -m salip_exp), or name another outputs=DIR")
    for run in runs:
        write_run_page(run)
    write_index(outputs, runs)
    labels = [run.label for run in runs]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
    wide_console().print(Text(f"{len(runs)} runs ({counts}): {shown(outputs / 'index.html')}"))
    return 0
