"""What a study says on the terminal when it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from salip_exp.reporting.table import shown, wide_console
from salip_exp.reporting.wording import number, spread

PLACES = (("tuning images", "tuning_images"), ("held out", "held_out"))


def say(folder: Path, report: Mapping[str, Any]) -> None:
    """Print the table of settings on both sets of images, what is to be known of it, and what to type next."""
    console = wide_console()
    console.print(table(report))
    for line in (*report["notes"], *remarks(report)):
        console.print(Text(f"  {line}", style="dim"))
    console.print(Text(f"study folder  {shown(folder)}"))
    console.print(Text(f"its page      {shown(folder / 'study.html')}"))
    console.print(Text(f"dashboard     {report['dashboard']}"))
    console.print(
        Text(
            f"next          python -m salip_exp dataset={report['dataset']} tuned={shown(folder / 'tuned.yaml')}",
            "bold",
        )
    )


def table(report: Mapping[str, Any]) -> Table:
    """DSC of the default settings, the winner, and what each objective would have chosen."""
    trials = report["trials"]
    title = f"{report['dataset']}: {trials['total']} trials ({report['sampler']}), best by {report['objective']}"
    result = Table(title=Text(title), title_justify="left")
    for head in ("settings", "trial"):
        result.add_column(head)
    for name, _ in PLACES:
        result.add_column(f"DSC {name}")
        result.add_column("n", justify="right")
    result.add_column("of the gain", justify="right")
    result.add_row(*_cells("default", report["default"], ""))
    result.add_row(*_cells("winner", report["winner"], ""), style="bold")
    result.add_section()
    for name, each in report["objectives"].items():
        share = each["recovered"]
        result.add_row(*_cells(f"best by {name}", each, "" if share is None else f"{100 * share:.0f} %"))
    return result


def remarks(report: Mapping[str, Any]) -> list[str]:
    """Spread over draws, importances, and speed, one line each where they are there."""
    said = []
    found = report["spread"]
    if found:
        said.append(
            f"held-out DSC of the winners of {found['n']} other draws of tuning images: mean {number(found['mean'])}, "
            f"sd {number(found['sd'])}, {number(found['least'])} to {number(found['most'])}"
        )
    if report["importances"]:
        said.append("importance: " + ", ".join(f"{name} {share:.2f}" for name, share in report["importances"].items()))
    rate = report["search"]["trials_per_second"]
    if rate:
        counters = report["counters"]
        said.append(
            f"{report['search']['done']} trials in {report['search']['seconds']:.1f} s ({rate:.1f} a second), "
            f"{counters['encoder_calls']} encoder calls by all workers"
        )
    return said


def _cells(name: str, each: Mapping[str, Any], share: str) -> list[Text]:
    trial = "" if each["trial"] is None else str(each["trial"])
    cells = [name, trial]
    for _, place in PLACES:
        cells += [spread(each[place]), str(each[place]["n"])]
    return [Text(cell) for cell in (*cells, share)]
