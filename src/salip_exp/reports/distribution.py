"""The distribution of DSC as an inline SVG: a dot per case, a row per group, the mean with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from salip_exp.runs.records import CaseRecord

LEFT, WIDTH, ROW, TOP = 150, 560, 34, 8
LAYERS = 7  # dots of a row are spread over this many heights, in order


def distribution(records: Sequence[CaseRecord], groups: Mapping[str, Any]) -> Markup:
    """One row per group on an axis from 0 to 1; colours come from the page's style sheet.

    Args:
        records: of the run; those without a score are not drawn.
        groups: `groups` of the run's summary.
    """
    height = TOP + ROW * len(groups) + 24
    parts = [_axis(height)]
    for i, (name, part) in enumerate(groups.items()):
        scores = [each.dsc for each in records if each.group == name and each.dsc is not None]
        parts.append(_row(TOP + ROW * i + ROW / 2, name, scores, part["dsc"]))
    return Markup(
        '<svg class="chart distribution" role="img" aria-label="DSC by group" viewBox="0 0 {} {}">{}</svg>'
    ).format(LEFT + WIDTH + 20, height, Markup("").join(parts))


def _axis(height: int) -> Markup:
    ticks = [
        Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><text x="{0}" y="{3}">{4}</text>').format(
            _x(tick / 5), TOP, height - 20, height - 6, f"{tick / 5:.1f}"
        )
        for tick in range(6)
    ]
    return Markup("").join(ticks)


def _row(y: float, name: str, scores: Sequence[float], estimate: Mapping[str, Any]) -> Markup:
    dots = [
        Markup('<circle cx="{}" cy="{:.1f}" r="2.6"/>').format(_x(score), y + (i % LAYERS - LAYERS // 2) * 3)
        for i, score in enumerate(scores)
    ]
    label = Markup('<text class="name" x="{}" y="{:.1f}">{}</text>').format(LEFT - 12, y + 4, escape(name))
    return label + Markup("").join(dots) + _mean(y, estimate)


def _mean(y: float, estimate: Mapping[str, Any]) -> Markup:
    if estimate["mean"] is None:
        return Markup("")
    return Markup(
        '<line class="interval" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<line class="mean" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    ).format(_x(estimate["low"]), _x(estimate["high"]), y=y, x=_x(estimate["mean"]), top=y - 11, bottom=y + 11)


def _x(score: float) -> str:
    return f"{LEFT + WIDTH * score:.1f}"
