"""Plots of a study, by name: how it went, what each setting did, and the area threshold against DSC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from salip_exp._console import shown, table, wide_console
from salip_exp._reports.charts import NARROWEST, Axis, Points, axis, plot
from salip_exp._reports.page import address, write_html
from salip_exp._settings.folders import File
from salip_exp._settings.tuning import AREA
from salip_exp._tuning.trials import TrialRow
from salip_exp._tuning.tune import Result, StudyListener
from salip_exp._wording import many, number, spread

_FEW = 10
"""Held-out cases below which a share of the gain says nothing."""


@dataclass(frozen=True)
class Plot:
    """A chart, and what stands above it."""

    title: str
    chart: Markup


def plots(trials: Sequence[TrialRow], report: Mapping[str, Any]) -> dict[str, Plot]:
    """The objective by trial, by each setting, and DSC by area threshold; none where no trial has a value.

    Args:
        trials: of the study.
        report: what `study.json` holds.
    """
    scored = [each for each in trials if each.value is not None]
    if not scored:
        return {}
    objective, best = str(report["objective"]), report["best"]["trial"]
    history = [(float(each.number), each.value) for each in scored if each.value is not None]
    best_until = list(accumulate((y for _, y in history), max))
    before = [best_until[0], *best_until]
    so_far = [
        point for (x, _), old, new in zip(history, before, best_until, strict=False) for point in ((x, old), (x, new))
    ]
    found = {"history": Plot("How it went", _by_trial(history, so_far, objective, best))}
    for name in report["space"]:
        points = {each.number: (float(each.values[name]), each.value) for each in scored if name in each.values}
        if len({x for x, _ in points.values()}) > 1:
            found[name] = Plot(name, _by_setting(name, points, objective, best))
    known = {each.number: each.outcome.mean("dsc") for each in scored}
    area = {each.number: (float(each.values[AREA]), known[each.number]) for each in scored if AREA in each.values}
    if objective != "dsc" and area and not any(math.isnan(each) for each in known.values()):
        found["area_and_dsc"] = Plot(f"{AREA} and DSC", _by_setting(AREA, area, "DSC, tuning images", best))
    return found


def _by_trial(history: Points, so_far: Points, objective: str, best: int) -> Markup:
    up = axis([value for _, value in history], narrowest=NARROWEST)
    across = axis([0.0, max(1.0, history[-1][0])], 0.0)
    winner = [point for point in history if point[0] == best]
    return plot(
        "history",
        f"{objective} by trial",
        (across, "trial; the line is the best until then"),
        (up, _below(objective, history, up)),
        {"line": so_far},
        {"trial": history, "best": winner},
    )


def _by_setting(name: str, points: Mapping[int, tuple[float, float | None]], objective: str, best: int) -> Markup:
    known = {number: (x, y) for number, (x, y) in points.items() if y is not None}
    up = axis([y for _, y in known.values()], narrowest=NARROWEST)
    dots = {"trial": list(known.values()), "best": [each for number, each in known.items() if number == best]}
    label = _below(objective, dots["trial"], up)
    return plot(
        "slice", f"{objective} by {name}", (axis([x for x, _ in known.values()]), name), (up, label), None, dots
    )


def _below(objective: str, points: Points, up: Axis) -> str:
    """What an axis is of, and how many trials lie too low for it: those are drawn at its foot."""
    low = sum(y < up.low for _, y in points)
    return f"{objective}; {many(low, 'trial')} lower, at the foot" if low else objective


def gained(each: Mapping[str, Any]) -> str:
    """The share of the gain that a choice recovers, in words; none where there is no gain, or too little to tell."""
    if each["recovered"] is None:
        return ""
    return f"{100 * each['recovered']:.0f} %" if each["held_out"]["n"] >= _FEW else f"n < {_FEW}"


PLACES = (("tuning images", "tuning_images"), ("held out", "held_out"))


def say(folder: Path, report: Mapping[str, Any]) -> None:
    """Print the table of settings on both sets of images, what is to be known of it, and what to type next."""
    console = wide_console()
    console.print(settings_table(report))
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


def settings_table(report: Mapping[str, Any]) -> Table:
    """DSC of the default settings, the winner, and what each objective would have chosen."""
    trials = report["trials"]
    title = f"{report['dataset']}: {trials['total']} trials ({report['sampler']}), chosen by {report['objective']}"
    places = [head for name, _ in PLACES for head in (f"DSC {name}", "n")]
    result = table(title, "settings", "trial", *places, "of the gain", numbers=("n", "of the gain"))
    result.add_row(*_cells("default", report["default"], ""))
    result.add_row(*_cells("winner", report["winner"], ""), style="bold")
    result.add_section()
    for name, each in report["objectives"].items():
        result.add_row(*_cells(f"chosen by {name}", each, gained(each)))
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


def write_page(folder: Path, drawn: Mapping[str, Plot], report: Mapping[str, Any], outputs: Path) -> None:
    """Write the page.

    Args:
        folder: of the study.
        drawn: its charts by name.
        report: what `study.json` holds.
        outputs: where the page over all runs lies.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    values = {
        "report": report,
        "certainty": certainty(report),
        "plots": drawn,
        "shares": {name: gained(each) for name, each in report["objectives"].items()},
        "winner": {name: f"{value:.4g}" for name, value in report["best"]["values"].items()},
        "tuned": File.tuned,
    }
    index = address(outputs / File.all_runs, folder)
    write_html(folder / File.study_page, "tuning.html.j2", index=index, **values)


class StudyPage(StudyListener):
    """The page of a study."""

    def finished(self, folder: Path, result: Result) -> None:
        """Write it."""
        write_page(folder, plots(result.trials, result.report), result.report, Path(result.config.outputs))


class StudyTable(StudyListener):
    """The table of settings on stdout, and what to type next."""

    def finished(self, folder: Path, result: Result) -> None:
        """Print it."""
        say(folder, result.report)
