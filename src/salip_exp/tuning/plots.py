"""Plots of a study, by name: how it went, what mattered, and the area threshold against DSC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from salip_exp.tuning.space import AREA, Space
from salip_exp.tuning.trials import TrialRow

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
