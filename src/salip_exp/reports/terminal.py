"""The table that a run ends with, and what to type next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from salip_exp.wording import MISSING, failed, number, spread, tally, title, work


def show(folder: Path, outputs: str, command: Sequence[str], console: Console | None = None) -> None:
    """Print a finished run's table by group, its notes, where it lies, and the next command, to stdout.

    Colours appear on terminals only, and not where NO_COLOR is set.

    Args:
        folder: of a finished run.
        outputs: where runs are written, for the next command.
        command: what this run was started by.
        console: instead of stdout.
    """
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    console = console or wide_console()
    console.print(table(summary))
    for note in ("mIoU: mean over cases of the foreground IoU", *summary["notes"]):
        console.print(Text(f"  {note}", style="dim"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    console.print(Text(f"computed    {work(manifest)}"))
    console.print(Text(f"run folder  {shown(folder)}"))
    console.print(Text(f"its page    {shown(folder / 'report.html')}"))
    console.print(Text("next        " + next_command(command, outputs), style="bold"))


def wide_console() -> Console:
    """Stdout; wide enough for a whole row where it is not a terminal, so that nothing is cut in a file."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=160)


def table(summary: Mapping[str, Any]) -> Table:
    """The table by group with a row for all; n is the number of cases in the means of its row."""
    by_volume = summary["overall"]["volumes"] is not None
    by_size = summary["overall"]["hc_abs_error"] is not None
    result = Table(title=Text(title(summary)), title_justify="left")
    percent = f"{100 * summary['confidence']:g} %"
    result.add_column("group")
    result.add_column("n", justify="right")
    result.add_column(f"DSC mean ± sd [{percent}]")
    result.add_column("mIoU", justify="right")
    if by_volume:
        result.add_column("DSC of volumes (n)", justify="right")
    if by_size:
        result.add_column("|HC error| mm (n)", justify="right")
    result.add_column("lost by", style="yellow")
    result.add_column("failed", justify="right")
    for name, part in summary["groups"].items():
        result.add_row(*_cells(name, part, by_volume, by_size))
    result.add_section()
    result.add_row(*_cells("all", summary["overall"], by_volume, by_size), style="bold")
    return result


def _cells(name: str, part: Mapping[str, Any], by_volume: bool, by_size: bool) -> list[Text]:
    n, cases = part["dsc"]["n"], part["cases"]
    of_volumes = [_with_n(part["volume_dsc"], 3)] if by_volume else []
    of_heads = [_with_n(part["hc_abs_error"], 1)] if by_size else []
    cells = [
        name,
        str(n) if n == cases else f"{n} of {cases}",
        spread(part["dsc"]),
        number(part["iou"]["mean"]),
        *of_volumes,
        *of_heads,
        tally(part["failures"], unsaid="none"),
        str(failed(part["statuses"])),
    ]
    return [Text(cell) for cell in cells]


def _with_n(estimate: Mapping[str, Any] | None, digits: int) -> str:
    return f"{number(estimate['mean'], digits)} ({estimate['n']})" if estimate else MISSING


def next_command(command: Sequence[str], outputs: str) -> str:
    """What shows all runs side by side."""
    program = list(command[:1] if command[:1] == ["salip-exp"] else ["python", "-m", "salip_exp"])
    place = [] if outputs == "outputs" else [f"outputs={outputs}"]
    return shlex.join([*program, "task=report", *place])


def shown(path: Path) -> str:
    """A path as short as it can be given from here."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
