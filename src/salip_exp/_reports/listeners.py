"""What people see of a run: progress and a table on the terminal, pictures, a page."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from salip_exp._console import Report, progress, shown, wide_console
from salip_exp._reports import _risk as risk
from salip_exp._reports import run_tables
from salip_exp._reports.gallery import limits
from salip_exp._reports.headline import verdict
from salip_exp._reports.overlays import Undrawn, remembering, write_figures
from salip_exp._reports.run_page import write_page
from salip_exp._reports.strips import write_strips
from salip_exp._runs._volumes import read_volumes
from salip_exp._runs.folder import read_json, read_pictures, read_undrawn, write_json
from salip_exp._runs.listener import Listener, Run
from salip_exp._settings import names
from salip_exp._settings.folders import File
from salip_exp._wording import work
from salip_exp.data._left_out import LeftOut, told_of
from salip_exp.evaluation.statistics import RunningMean

log = logging.getLogger(__name__)


def show(folder: Path, outputs: str, command: Sequence[str], console: Console | None = None) -> None:
    """Print a finished run's tables, its notes, where it lies, and the next command, to stdout.

    Colours appear on terminals only, and not where NO_COLOR is set.

    Args:
        folder: of a finished run.
        outputs: where runs are written, for the next command.
        command: what this run was started by.
        console: instead of stdout.
    """
    summary = read_json(folder / File.summary) or {}
    console = console or wide_console()
    for table in _tables(folder, summary):
        console.print(table)
    manifest = read_json(folder / File.manifest) or {}
    if summary:
        console.print(Text(verdict(summary), style="bold"))
    about = [] if summary.get("doubt") else ["mIoU: mean over cases of the foreground IoU"]
    about += [said for said in [run_tables.flagged(summary["overall"])] if said]
    for note in (*about, *risk.said(summary), *summary["notes"], *left_out_of(folder)):
        console.print(Text(f"  {note}", style="dim"))
    for said in limits(read_pictures(folder)["figures"]):
        console.print(Text(f"  {said}", style="dim"))
    for name, reason in read_undrawn(folder).items():
        console.print(Text(f"  no picture of {name}: {reason}", style="yellow"))
    for said in manifest.get("masks_absent", ()):  # runs before 0.2.0 do not tell
        console.print(Text(f"  {said}", style="yellow"))
    console.print(
        Text(f"run         {names.called(names.words(folder), folder.name)}, {names.dated(manifest.get('started'))}")
    )
    console.print(Text(f"computed    {work(manifest)}"))
    console.print(Text(f"run folder  {shown(folder)}"))
    if any((folder / File.masks).iterdir() if (folder / File.masks).exists() else ()):
        console.print(Text(f"its masks   {shown(folder / File.masks)}"))
    console.print(Text(f"its page    {shown(folder / File.report)}"))
    console.print(Text("next        " + next_command(command, outputs), style="bold"))


def left_out_of(folder: Path) -> list[str]:
    """What a run left out, a sentence each; runs before 0.2.0 hold none."""
    return told_of((read_json(folder / File.manifest) or {"data": {}})["data"].get("left_out", ()))


def _tables(folder: Path, summary: Mapping[str, Any]) -> Iterator[Table]:
    """What is shown of a run, one below the other."""
    yield run_tables.of_groups(summary)
    if summary.get("doubt"):
        yield run_tables.most_doubtful(pd.read_parquet(folder / File.case_columns), summary["doubt"])
    volumes = run_tables.of_volumes(read_volumes(folder))
    if volumes is not None:
        yield volumes


def next_command(command: Sequence[str], outputs: str) -> str:
    """What shows all runs side by side."""
    program = list(command[:1] if command[:1] == ["salip-exp"] else ["python", "-m", "salip_exp"])
    place = [] if outputs == "outputs" else [f"outputs={outputs}"]
    return shlex.join([*program, "task=report", *place])


class CaseProgress(Listener):
    """How far a run is, and its mean DSC so far."""

    def __init__(self) -> None:
        self._mean, self._said = RunningMean(), "no score yet"
        self._stack = ExitStack()
        self._report: Report

    def began(self, run: Run) -> None:
        """Open the bar."""
        self._report = self._stack.enter_context(progress(len(run.dataset.refs), run.config.progress, "case"))

    def case(self, run: Run) -> None:
        """One case further."""
        dsc = run.records[-1].dsc
        if dsc is not None:
            self._said = f"mean DSC {self._mean.add(dsc):.3f} (n={self._mean.n})"
        self._report(self._said)

    def scored(self, run: Run) -> None:
        """Close the bar."""
        self._stack.close()

    def ended(self, code: int) -> None:
        """Close the bar of a run that was stopped."""
        self._stack.close()


class Pictures(Listener):
    """Overlays and strips of chosen cases, and `pictures.json`: whose they are, and why others have none."""

    def scored(self, run: Run) -> None:
        """Draw them; for a strip the method is asked again."""
        refs, undrawn = remembering(run.dataset.refs), Undrawn()
        figures = write_figures(
            run.folder, refs, run.records, run.config.figures, run.config.seed, undrawn, run.config.score.doubt
        )
        strips = write_strips(run.folder, refs, run.records, run.method, run.config, undrawn)
        for name, reason in undrawn.items():
            log.warning("no picture of case %s: %s", name, reason)
        write_json(run.folder / File.pictures, {"figures": figures, "strips": strips, "undrawn": undrawn})


class RunPage(Listener):
    """`report.html` and `cases.js`."""

    def finished(self, run: Run) -> None:
        """Write both."""
        write_page(run.folder)


def tell_left_out(found: Sequence[LeftOut]) -> None:
    """Print what a command is about not to run on, a line for each reason, to stdout."""
    console = wide_console()
    for each in found:
        console.print(Text(f"data        {each.said}"))


class RunTable(Listener):
    """What is left out, the table by group on stdout, and what to type next."""

    def began(self, run: Run) -> None:
        """Tell what the run does not go over, before its first case."""
        tell_left_out(run.dataset.left_out)

    def finished(self, run: Run) -> None:
        """Print it."""
        show(run.folder, run.config.outputs, run.command)
