"""Plots of a study, by name: how it went, what mattered, and the area threshold against DSC."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.visualization import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_param_importances,
    plot_slice,
)
from plotly.graph_objects import Figure, Scatter
from plotly.offline import get_plotlyjs
from rich.table import Table
from rich.text import Text

from salip_exp._console import shown, wide_console
from salip_exp._files import atomic_write
from salip_exp._reports.page import address, write_html
from salip_exp._settings.folders import File
from salip_exp._settings.tuning import AREA
from salip_exp._tuning.space import Space
from salip_exp._tuning.trials import TrialRow, optuna_study
from salip_exp._tuning.tune import Result, StudyListener
from salip_exp._wording import number, spread

HEIGHT = 420


def plots(trials: Sequence[TrialRow], space: Space, report: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures by file name, drawn by Optuna but for the last; those that need what is not there are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few trials make all importances equal
        found = _drawn_by_optuna(optuna_study(trials, space), report)
    scored = [each for each in trials if each.value is not None and AREA in each.values]
    if not all(math.isnan(each.outcome.mean("dsc")) for each in scored):
        found["area_and_dsc"] = area_and_dsc(scored)
    for figure in found.values():
        figure.update_layout(height=HEIGHT, template="plotly_white")
    return found


def _drawn_by_optuna(study: Study, report: Mapping[str, Any]) -> dict[str, Figure]:
    drawn: dict[str, Callable[..., Figure]] = {
        "history": plot_optimization_history,
        "importances": plot_param_importances,
        "slices": plot_slice,
        "parallel_coordinates": plot_parallel_coordinate,
    }
    if not report["importances"]:
        del drawn["importances"]
    return {name: draw(study, target_name=report["objective"]) for name, draw in drawn.items()}


def area_and_dsc(scored: Sequence[TrialRow]) -> Figure:
    """DSC on the tuning images against the area threshold."""
    x = [each.values[AREA] for each in scored]
    y = [each.outcome.mean("dsc") for each in scored]
    figure = Figure(Scatter(x=x, y=y, mode="markers"))
    return figure.update_layout(title="Area threshold and DSC", xaxis_title=AREA, yaxis_title="DSC, tuning images")


PLACES = (("tuning images", "tuning_images"), ("held out", "held_out"))


def say(folder: Path, report: Mapping[str, Any]) -> None:
    """Print the table of settings on both sets of images, what is to be known of it, and what to type next."""
    console = wide_console()
    console.print(table(report))
    for line in (*report["notes"], *_remarks(report)):
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
    title = f"{report['dataset']}: {trials['total']} trials ({report['sampler']}), chosen by {report['objective']}"
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
        result.add_row(*_cells(f"chosen by {name}", each, "" if share is None else f"{100 * share:.0f} %"))
    return result


def certainty(report: Mapping[str, Any]) -> list[str]:
    """How sure the choice is, a sentence each; none of a study that says nothing of it."""
    found = report.get("choice")
    if found is None:
        return []
    equal = f", {found['tied']} trials alike" if found["tied"] > 1 else ""
    said = [
        f"chosen by tuning.choose={found['rule']}: trial {report['best']['trial']}; the highest is trial "
        f"{found['highest']}{equal}, and {found['near']} of {found['of']} lie within one standard error of it"
    ]
    if found["expected"] is not None:
        said.append(
            f"expected on other images: {report['objective']} {number(found['expected'])} "
            f"(each of {found['parts']} parts of the tuning images left out in turn)"
        )
    if found["gain"] is not None:
        error = "" if found["gain_se"] is None else f", standard error {number(found['gain_se'], 4)}"
        keep = "; keep the default, nothing is clearly better" if found["keep_default"] else ""
        said.append(f"gain over the configured settings on the tuning images {number(found['gain'], 4)}{error}{keep}")
    return said


def _remarks(report: Mapping[str, Any]) -> list[str]:
    """Certainty, spread over draws, importances, and speed, one line each where they are there."""
    said = certainty(report)
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
    program = get_plotlyjs()
    atomic_write(folder / File.plots / "plotly.min.js", program)
    for name, figure in figures.items():
        atomic_write(folder / File.plots / f"{name}.html", figure.to_html(include_plotlyjs="directory"))
    fragments = {
        name: figure.to_html(full_html=False, include_plotlyjs=False, div_id=name) for name, figure in figures.items()
    }
    index = address(outputs / File.all_runs, folder)
    values = {"report": report, "certainty": certainty(report), "program": program, "fragments": fragments}
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
