"""Risk and coverage of a run for people: a line on the terminal, a table and a curve on its page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from salip_exp._reports.charts import axis, plot
from salip_exp._reports.run_tables import BELIEFS
from salip_exp._runs.records import CaseRecord
from salip_exp._runs.risk import pairs_of
from salip_exp._wording import around, many
from salip_exp.evaluation.risk import TITLES, risk_coverage

_POINTS = 500  # of a curve
_SAID = ("auroc", "naurc", "fpr95")
"""What the terminal has room for."""


def first_measure(summary: Mapping[str, Any]) -> str | None:
    """The measure of confidence that a summary's curve is of: the first that it has."""
    return next(iter(summary.get("risk", ())), None)


def said(summary: Mapping[str, Any]) -> list[str]:
    """One line on what the first measure is worth; none where nothing is poor, or all is."""
    measure = first_measure(summary)
    found = summary["risk"][measure] if measure else None
    if not found or not 0 < found["poor"] < found["n"]:
        return []
    told = ", ".join(f"{TITLES[name]} {around(found['measures'][name])}" for name in _SAID)
    below = f"{found['poor']} of {many(found['n'], 'case')} below DSC {summary['poor_below']:g}"
    return [f"{BELIEFS[measure or '']} against DSC: {told} ({below})"]


def rows(summary: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """For each measure its name, its n with how many cases are poor, and its figures."""
    return [
        (BELIEFS.get(name, name), f"{each['n']} ({each['poor']})", [around(each["measures"][one]) for one in TITLES])
        for name, each in summary.get("risk", {}).items()
    ]


def curve(records: Sequence[CaseRecord], summary: Mapping[str, Any]) -> Markup | None:
    """Risk over coverage by the first measure, beside the best order there is and none; None without a measure."""
    measure = first_measure(summary)
    if measure is None:
        return None
    told, dsc = pairs_of(records, measure)
    mean = 1 - sum(dsc) / len(dsc)
    found, best = risk_coverage(told, dsc), risk_coverage(dsc, dsc)
    lines = {"order": _points(*found), "interval": _points(*best), "none": ((0.0, mean), (1.0, mean))}
    up = axis([0.0, max(*found[1], mean, 0.01)], 0.0)
    said = "risk over coverage"
    return plot(
        "risk", said, (axis([0.0, 1.0]), "coverage: share of the cases that is kept"), (up, "risk, 1 - DSC"), lines
    )


def _points(across: Iterable[float], up: Iterable[float]) -> list[tuple[float, float]]:
    """A curve, thinned where it has more points than a page can show."""
    points = list(zip(across, up, strict=True))
    return [*points[: -1 : max(1, len(points) // _POINTS)], points[-1]]
