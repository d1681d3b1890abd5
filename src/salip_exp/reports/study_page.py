"""Plots of a study, by name: how it went, what mattered, and the area threshold against DSC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from salip_exp.console import shown, wide_console
from salip_exp.files import atomic_write
from salip_exp.reports.page import address, write_html
from salip_exp.settings.folders import File
from salip_exp.settings.tuning import AREA
from salip_exp.tuning.space import Space
from salip_exp.tuning.trials import TrialRow
from salip_exp.tuning.tune import Result, StudyListener
from salip_exp.wording import number, spread

SCALE = "Viridis"
HEIGHT = 420


def plots(trials: Sequence[TrialRow], space: Space, report: Mapping[str, Any]) -> dict[str, Any]:
    """Plotly figures by file name; those that need what is not there are left out."""
    scored = [each for each in trials if each.value is not None]
    names = [each.name for each in space.dimensions]
    found: dict[str, Any] = {"history": history(scored, report)}
    if report["importances"]:
        found["importances"] = importances(report)
    found["slices"] = slices(scored, names, report)
    found["parallel_coordinates"] = parallel(scored, space, report)
    if AREA in names and not all(math.isnan(each.outcome.mean("dsc")) for each in scored):
        found["area_and_dsc"] = area_and_dsc(scored)
    for name, figure in found.items():
        wide = name == "slices"
        figure.update_layout(height=HEIGHT * (1 + len(names) // 4) if wide else HEIGHT, template="plotly_white")
    return found


def history(scored: Sequence[TrialRow], report: Mapping[str, Any]) -> Any:
    """Every trial's value, and the best until then."""
    from plotly import graph_objects

    numbers = [each.number for each in scored]
    best = list(accumulate((each.value for each in scored if each.value is not None), max))
    figure = graph_objects.Figure(
        [
            graph_objects.Scatter(x=numbers, y=[each.value for each in scored], mode="markers", name="trial"),
            graph_objects.Scatter(x=numbers, y=best, mode="lines", line_shape="hv", name="best so far"),
        ]
    )
    return figure.update_layout(title="History", xaxis_title="trial", yaxis_title=report["objective"])


def importances(report: Mapping[str, Any]) -> Any:
    """Which settings the value depends on."""
    from plotly import graph_objects

    items = sorted(report["importances"].items(), key=lambda item: item[1])
    bars = graph_objects.Bar(x=[share for _, share in items], y=[name for name, _ in items], orientation="h")
    return graph_objects.Figure(bars).update_layout(title="Importance of the settings", xaxis_title="share")


def slices(scored: Sequence[TrialRow], names: Sequence[str], report: Mapping[str, Any]) -> Any:
    """The value against each setting."""
    from plotly import graph_objects
    from plotly.subplots import make_subplots

    columns = min(4, len(names))
    figure = make_subplots(rows=-(-len(names) // columns), cols=columns, subplot_titles=list(names), shared_yaxes=True)
    marker = {"color": [each.number for each in scored], "colorscale": SCALE, "size": 6}
    for i, name in enumerate(names):
        x = [each.values[name] for each in scored]
        dots = graph_objects.Scatter(x=x, y=[each.value for each in scored], mode="markers", marker=marker)
        figure.add_trace(dots, row=i // columns + 1, col=i % columns + 1)
    return figure.update_layout(title=f"{report['objective']} against each setting", showlegend=False)


def parallel(scored: Sequence[TrialRow], space: Space, report: Mapping[str, Any]) -> Any:
    """Every trial as a line through its settings."""
    from plotly import graph_objects

    value = [each.value for each in scored]
    axes = [{"label": report["objective"], "values": value}]
    axes += [{"label": each.name, "values": [row.values[each.name] for row in scored]} for each in space.dimensions]
    lines = graph_objects.Parcoords(line={"color": value, "colorscale": SCALE, "showscale": True}, dimensions=axes)
    return graph_objects.Figure(lines).update_layout(title="All settings of every trial")


def area_and_dsc(scored: Sequence[TrialRow]) -> Any:
    """DSC on the tuning images against the area threshold."""
    from plotly import graph_objects

    x = [each.values[AREA] for each in scored]
    y = [each.outcome.mean("dsc") for each in scored]
    figure = graph_objects.Figure(graph_objects.Scatter(x=x, y=y, mode="markers"))
    return figure.update_layout(title="Area threshold and DSC", xaxis_title=AREA, yaxis_title="DSC, tuning images")


PLACES = (("tuning images", "tuning_images"), ("held out", "held_out"))


def say(folder: Path, report: Mapping[str, Any]) -> None:
    """Print the table of settings on both sets of images, what is to be known of it, and what to type next."""
    console = wide_console()
    console.print(table(report))
    for line in (*report["notes"], *remarks(report)):
        console.print(Text(f"  {line}", style="dim"))
    console.print(Text(f"study folder  {shown(folder)}"))
    console.print(Text(f"its page      {shown(folder / File.study_page)}"))
    console.print(Text(f"dashboard     {report['dashboard']}"))
    console.print(
        Text(
            f"next          python -m salip_exp dataset={report['dataset']} tuned={shown(folder / File.tuned)}",
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


def write_page(folder: Path, figures: Mapping[str, Any], report: Mapping[str, Any], outputs: Path) -> None:
    """Write the page, and every figure as a file that shares one copy of Plotly's program with the others.

    Args:
        folder: of the study.
        figures: by name.
        report: what `study.json` holds.
        outputs: where the page over all runs lies.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    from plotly.offline import get_plotlyjs

    program = get_plotlyjs()
    atomic_write(folder / File.plots / "plotly.min.js", program)
    for name, figure in figures.items():
        atomic_write(folder / File.plots / f"{name}.html", figure.to_html(include_plotlyjs="directory"))
    fragments = [
        figure.to_html(full_html=False, include_plotlyjs=False, div_id=name) for name, figure in figures.items()
    ]
    index = address(outputs / File.all_runs, folder)
    values = {"report": report, "program": program, "fragments": fragments}
    write_html(folder / File.study_page, "tuning.html.j2", index=index, **values)


class StudyPage(StudyListener):
    """The plots of a study, and the page that shows them."""

    def finished(self, folder: Path, result: Result) -> None:
        """Write them."""
        write_page(
            folder, plots(result.trials, result.space, result.report), result.report, Path(result.config.outputs)
        )


class StudyTable(StudyListener):
    """The table of settings on stdout, and what to type next."""

    def finished(self, folder: Path, result: Result) -> None:
        """Print it."""
        say(folder, result.report)
