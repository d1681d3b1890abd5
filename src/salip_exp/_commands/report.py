"""`task=report`: a page over all runs and studies, and a page for each; once, or again and again while they go on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from salip_exp._console import shown, wide_console
from salip_exp._reports.experiment_page import write_experiment_page
from salip_exp._reports.index_page import write_index
from salip_exp._reports.page import address
from salip_exp._reports.run_page import write_run_page
from salip_exp._reports.serve import watch
from salip_exp._settings.folders import File
from salip_exp.config import Config
from salip_exp.errors import DataError, TooManyFailures
from salip_exp.runs.folder import RunFolder, State, StudyFolder, find_runs, find_studies


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Write `index.html` and `compare.html` below `outputs`, and the page of every run and experiment there.

    With `report.watch` the pages are served and written again as runs go on, until Ctrl-C.

    Returns:
        0.

    Raises:
        DataError: there is no run to report on.
        TooManyFailures: with `report.strict`, a run or a case that cannot be read; the pages are written nevertheless.
        EnvironmentFault: a page cannot be written, or the port is in use.
    """
    outputs = Path(config.outputs)
    if config.report.watch:
        return watch(outputs, config.report.port)
    runs, studies = find_runs(outputs), find_studies(outputs)
    if not runs and not studies:
        raise DataError(f"no run lies below {outputs}: make one (python -m salip_exp), or name another outputs=DIR")
    _write_all(outputs, runs, studies)
    labels = [run.label for run in runs]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
    many = "study" if len(studies) == 1 else "studies"
    found = [f"{len(runs)} runs ({counts})"] * bool(runs) + [f"{len(studies)} {many}"] * bool(studies)
    wide_console().print(Text(f"{', '.join(found)}: {shown(outputs / File.all_runs)}"))
    if config.report.strict:
        _refuse_damage(runs)
    return 0


def _write_all(outputs: Path, runs: Sequence[RunFolder], studies: Sequence[StudyFolder]) -> None:
    """Write every page."""
    for run in runs:
        write_run_page(run, address(outputs / File.all_runs, run.folder))
    for study in studies:
        if study.kind == "experiment" and study.content:
            write_experiment_page(study, outputs)
    write_index(outputs, runs, studies)


def _refuse_damage(runs: Sequence[RunFolder]) -> None:
    damaged = [run for run in runs if run.unreadable or run.label is State.damaged]
    if damaged:
        first = damaged[0]
        raise TooManyFailures(
            f"{len(damaged)} of {len(runs)} runs cannot be read whole, the first being {first.folder} "
            f"({first.why or f'{first.unreadable} case files cannot be read'}): run them again, or remove them; "
            "all pages are written"
        )
