"""The one way that pages draw: charts as SVG in the colours of the style sheet, on axes that show what there is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

LEFT, WIDTH, ROW, TOP = 150, 560, 34, 8
NARROWEST = 0.01
"""Of an axis of scores."""
_HEIGHT, _SIDE = 200, 64  # of a chart of curves or points, and left of it
_DOTS = 200  # of a group: of more, a histogram says more, and keeps the page small
_BINS = 80
_LAYERS = 7  # dots of a row are spread over this many heights, in order
_FENCE = 3.0  # quartile distances that an axis reaches beyond the quartiles


@dataclass(frozen=True)
class Axis:
    """From where to where values are drawn, with a tick at every multiple of a step."""

    low: float
    high: float
    step: float

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1; what lies outside is drawn at the end."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Where ticks lie, and what stands at them."""
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        for i in range(round((self.high - self.low) / self.step) + 1):
            value = self.low + i * self.step
            yield self.share(value), f"{value:.{digits}f}"


def axis(values: Sequence[float], least: float = -math.inf, most: float = math.inf, narrowest: float = 0.0) -> Axis:
    """An axis over the values, but not over those so far from the others that these could not be told apart.

    Args:
        values: at least one.
        least: that a value can be.
        most: the same.
        narrowest: that it may be, so that differences which mean nothing do not look large.
    """
    lower, upper = np.percentile(values, (25, 75))
    reach = max(_FENCE * (upper - lower), 0.05 * (max(values) - min(values)))
    inside = [each for each in values if lower - reach <= each <= upper + reach]
    low, high = min(inside), max(inside)
    spare = max(0.0, narrowest - (high - low)) / 2
    low, high = low - spare, high + spare
    wide = (high - low) or 0.1 * abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(wide / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= wide / 5)
    ends = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    low, high = max(ends[0], least), min(ends[1], most)
    return Axis(low, high, step) if high > low else Axis(max(low - step, least), min(high + step, most), step)


def distribution(groups: Mapping[str, tuple[Sequence[float], Mapping[str, Any]]]) -> Markup:
    """DSC by group, a row each: dots, or a histogram of many; the mean, and its interval.

    Args:
        groups: scores and their estimate by name; one score at least.
    """
    across = axis([score for scores, _ in groups.values() for score in scores], 0.0, 1.0, NARROWEST)
    bottom = TOP + ROW * len(groups)
    parts = [_tick(LEFT + WIDTH * share, bottom, text) for share, text in across.ticks()]
    for i, (name, (scores, estimate)) in enumerate(groups.items()):
        y = TOP + ROW * (i + 0.5)
        parts += [_name(LEFT - 12, y + 4, name), _mean(y, estimate, across), _spread(y, scores, across)]
        parts += [_outside(y, scores, across)]
    return _chart("distribution", "DSC by group", LEFT + WIDTH + 20, bottom + 24, parts)


def _spread(y: float, scores: Sequence[float], across: Axis) -> Markup:
    inside = [LEFT + WIDTH * across.share(score) for score in scores if across.low <= score <= across.high]
    if len(inside) > _DOTS:
        return _histogram(y, inside)
    return Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.6"/>').format(x, y + (i % _LAYERS - _LAYERS // 2) * 3)
        for i, x in enumerate(inside)
    )


def _histogram(y: float, places: Sequence[float]) -> Markup:
    counts, edges = np.histogram(places, _BINS, (LEFT, LEFT + WIDTH))
    heights = counts / counts.max() * (ROW - 10) / 2
    tops = [f"{x:.1f},{y - h:.1f}" for x, h in zip(edges, (*heights, 0), strict=True)]
    bottoms = [f"{x:.1f},{y + h:.1f}" for x, h in zip(edges, (*heights, 0), strict=True)]
    return Markup('<polygon class="many" points="{}"/>').format(" ".join([*tops, *bottoms[::-1]]))


def _outside(y: float, scores: Sequence[float], across: Axis) -> Markup:
    """How many scores are too low for the axis, at its end."""
    n = sum(score < across.low for score in scores)
    said = Markup('<text class="outside" x="{}" y="{:.1f}">◂ {} below</text>').format(LEFT + 4, y - 5, n)
    return said if n else Markup("")


def _mean(y: float, estimate: Mapping[str, Any], across: Axis) -> Markup:
    if estimate["mean"] is None:
        return Markup("")
    low, mean, high = (LEFT + WIDTH * across.share(estimate[end]) for end in ("low", "mean", "high"))
    return Markup(
        '<line class="interval" x1="{:.1f}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    ).format(low, high, y=y, x=mean, top=y - 11, bottom=y + 11)


Points = Sequence[tuple[float, float]]


def plot(
    kind: str,
    said: str,
    across: tuple[Axis, str],
    up: tuple[Axis, str],
    lines: Mapping[str, Points] | None = None,
    dots: Mapping[str, Points] | None = None,
) -> Markup:
    """Curves and points over two axes.

    Args:
        kind: of chart, a class of the style sheet.
        said: for those who do not see it.
        across: axis from left to right, and what it is of.
        up: the same from below.
        lines: by class of the style sheet.
        dots: the same.
    """
    top = TOP + 28  # below the name of what goes up, also where a phone's letters are larger
    bottom = top + _HEIGHT

    def x(value: float) -> float:
        return _SIDE + WIDTH * across[0].share(value)

    def y(value: float) -> float:
        return bottom - _HEIGHT * up[0].share(value)

    parts = [_tick(_SIDE + WIDTH * share, bottom, text, top) for share, text in across[0].ticks()]
    for share, text in up[0].ticks():
        at = bottom - _HEIGHT * share
        grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts += [grid.format(_SIDE, _SIDE + WIDTH, y=at), _name(_SIDE - 6, at + 4, text)]
    for name, points in (lines or {}).items():
        path = " ".join(f"{x(one):.1f},{y(other):.1f}" for one, other in points)
        parts += [Markup('<polyline class="{}" fill="none" points="{}"/>').format(name, path)]
    for name, points in (dots or {}).items():
        dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>')
        parts += [dot.format(name, x(one), y(other)) for one, other in points]
    parts += [Markup('<text x="{}" y="{}">{}</text>').format(_SIDE + WIDTH / 2, bottom + 36, across[1])]
    parts += [Markup('<text class="start" x="2" y="14">{}</text>').format(up[1])]
    return _chart(kind, said, _SIDE + WIDTH + 20, bottom + 44, parts)


def _tick(x: float, bottom: float, text: str, top: float = TOP) -> Markup:
    return Markup(
        '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/><text x="{x:.1f}" y="{}">{}</text>'
    ).format(top, bottom, bottom + 16, text, x=x)


def _name(x: float, y: float, text: str) -> Markup:
    return Markup('<text class="name" x="{}" y="{:.1f}">{}</text>').format(x, y, text)


def _chart(kind: str, said: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart {}" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        kind, said, width, height, Markup("").join(parts)
    )
