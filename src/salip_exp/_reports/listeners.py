"""What people see of a run: progress and a table on the terminal, pictures, a page."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from salip_exp._console import Report, progress, shown, wide_console
from salip_exp._reports.overlays import Undrawn, remembering, write_figures
from salip_exp._reports.run_page import write_page
from salip_exp._reports.strips import write_strips
from salip_exp._settings.folders import File
from salip_exp._wording import counted, failed, heading, mean, tally, title, work
from salip_exp.data._left_out import LeftOut, told_of
from salip_exp.evaluation import scores
from salip_exp.evaluation.statistics import RunningMean
from salip_exp.runs.folder import read_json, read_undrawn, write_json
from salip_exp.runs.listener import Listener, Run

log = logging.getLogger(__name__)


def show(folder: Path, outputs: str, command: Sequence[str], console: Console | None = None) -> None:
    """Print a finished run's table by group, its notes, where it lies, and the next command, to stdout.

    Colours appear on terminals only, and not where NO_COLOR is set.

    Args:
        folder: of a finished run.
        outputs: where runs are written, for the next command.
        command: what this run was started by.
        console: instead of stdout.
    """
    summary = read_json(folder / File.summary) or {}
    console = console or wide_console()
    console.print(table(summary))
    manifest = read_json(folder / File.manifest) or {}
    for note in ("mIoU: mean over cases of the foreground IoU", *summary["notes"], *left_out_of(folder)):
        console.print(Text(f"  {note}", style="dim"))
    for name, reason in read_undrawn(folder).items():
        console.print(Text(f"  no picture of {name}: {reason}", style="yellow"))
    console.print(Text(f"computed    {work(manifest)}"))
    console.print(Text(f"run folder  {shown(folder)}"))
    console.print(Text(f"its page    {shown(folder / File.report)}"))
    console.print(Text("next        " + next_command(command, outputs), style="bold"))


def left_out_of(folder: Path) -> list[str]:
    """What a run left out, a sentence each; runs before 0.2.0 hold none."""
    return told_of((read_json(folder / File.manifest) or {"data": {}})["data"].get("left_out", ()))


def table(summary: Mapping[str, Any]) -> Table:
    """The table by group with a row for all; n is the number of cases in the means of its row."""
    result = headed(summary, "group")
    for name, part in summary["groups"].items():
        result.add_row(*cells(part, summary, name))
    result.add_section()
    result.add_row(*cells(summary["overall"], summary, "all"), style="bold")
    return result


def headed(summary: Mapping[str, Any], *names: str) -> Table:
    """A table without rows, with columns of names, of n, of every mean that the terminal shows, and of failures."""
    result = Table(title=Text(title(summary)), title_justify="left")
    for name in names:
        result.add_column(name)
    result.add_column("n", justify="right")
    for each, style, _ in scores.shown(summary, "terminal"):
        head = heading(each.title, style, summary["confidence"])
        result.add_column(Text(head), justify="left" if style == "spread" else "right")
    result.add_column("lost by", style="yellow")
    result.add_column("failed", justify="right")
    return result


def cells(part: Mapping[str, Any], summary: Mapping[str, Any], *names: str) -> list[Text]:
    """The row of a part of a summary in such a table."""
    found = [
        *names,
        counted(part),
        *(mean(part.get(each.name), style, digits) for each, style, digits in scores.shown(summary, "terminal")),
        tally(part["failures"], unsaid="none"),
        str(failed(part["statuses"])),
    ]
    return [Text(cell) for cell in found]


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
        figures = write_figures(run.folder, refs, run.records, run.config.figures, run.config.seed, undrawn)
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
