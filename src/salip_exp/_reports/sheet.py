"""A figure as a sheet of panels in rows, drawn by matplotlib: vector text and outlines, the same bytes every time."""

from __future__ import annotations

import io
import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from salip_exp._reports.overlays import PREDICTION, TARGET, Color, writable

WIDTH = 7.0  # inches: two columns of a paper
DPI = 300
STYLE: Any = {
    "pdf.fonttype": 42,  # text stays text
    "font.family": "DejaVu Sans",  # comes with matplotlib, so is the same everywhere
    "text.parse_math": False,  # names may hold dollars
}
"""Of every figure."""
LABEL, GAP, HEADER, CAPTION, FOOT = 0.42, 0.06, 0.2, 0.16, 0.13  # inches
_WRAP = 150  # characters of a line of the foot
_TALLEST = 2.0  # height by width of a row's place for a picture


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet.

    Attributes:
        pixels: uint8 (h, w, 3), at any resolution.
        lines: masks bool (H, W) that share its frame, outlined in their colours.
        boxes: x0 y0 x1 y1 with inclusive far edges in pixels of the masks, dashed.
        size: (H, W) that masks and boxes are measured in; None: that of the pixels.
        score: written on the picture.
        caption: written below it.
    """

    pixels: NDArray[np.uint8]
    lines: Sequence[tuple[NDArray[np.bool_], Color]] = ()
    boxes: Sequence[Sequence[float]] = ()
    size: tuple[int, int] | None = None
    score: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Panels side by side, with what is written to their left."""

    label: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Sheet:
    """All of a figure.

    Attributes:
        headers: above the columns.
        rows: from above.
        notes: below all.
    """

    headers: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=list)


def rendered(sheet: Sheet) -> dict[str, bytes]:
    """The sheet as `png` (300 dots per inch) and `pdf`; no date is written, so that equal sheets are equal files."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph
    with mpl.rc_context(STYLE):
        figure = _figure(sheet)
        files = {}
        for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None, "Producer": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
            files[kind] = stream.getvalue()
    return files


def _figure(sheet: Sheet) -> Figure:
    """Panels placed by the inch from above: every row is as high as its first panel, and the others fit into it."""
    column = (WIDTH - LABEL - GAP * len(sheet.headers)) / len(sheet.headers)
    heights = [column * min(_aspect(row.panels[0]), _TALLEST) for row in sheet.rows]
    below = [GAP + CAPTION * any(panel.caption for panel in row.panels) for row in sheet.rows]
    foot = [line for note in sheet.notes for line in textwrap.wrap(note, _WRAP)]
    total = HEADER + sum(heights) + sum(below) + FOOT * (len(foot) + 1) + GAP
    figure = Figure(figsize=(WIDTH, total))
    middles = [LABEL + number * (column + GAP) + column / 2 for number in range(len(sheet.headers))]
    top = total - HEADER
    for row, height, space in zip(sheet.rows, heights, below, strict=True):
        _write(figure, LABEL / 2, top - height / 2, row.label, rotation=90)
        for panel, middle in zip(row.panels, middles, strict=False):
            high = min(height, column * _aspect(panel))
            wide = high / _aspect(panel)
            place = ((middle - wide / 2) / WIDTH, (top - high) / total, wide / WIDTH, high / total)
            _draw(figure.add_axes(place), panel)
            _write(figure, middle, top - high - CAPTION / 2, panel.caption, size=6)
        top -= height + space
    if sheet.rows:
        for middle, header in zip(middles, sheet.headers, strict=True):
            _write(figure, middle, total - HEADER / 2, header, size=8)
        _legend(figure, top)
    for number, line in enumerate(foot):
        _write(figure, LABEL, top - FOOT * (number + 1.5), line, size=6, ha="left", color="0.35")
    return figure


def _aspect(panel: Panel) -> float:
    """Height by width of a panel."""
    height, width = panel.pixels.shape[:2]
    return float(height / width)


def _write(figure: Figure, x: float, y: float, text: str, size: float = 7, **how: Any) -> None:
    """Text centred at a place, in inches from the lower left corner."""
    settings: dict[str, Any] = {"ha": "center", "va": "center", "color": "black"} | how
    figure.text(x / WIDTH, y / figure.get_figheight(), writable(text), fontsize=size, **settings)


def _draw(axes: Axes, panel: Panel) -> None:
    height, width = panel.size or panel.pixels.shape[:2]
    axes.imshow(
        panel.pixels, extent=(-0.5, width - 0.5, height - 0.5, -0.5), aspect="auto", interpolation="antialiased"
    )
    for mask, color in panel.lines:
        if mask.any():  # padded, so that an outline closes at the frame
            rows, columns = np.arange(-1, height + 1), np.arange(-1, width + 1)
            padded = np.pad(mask.astype(float), 1)
            axes.contour(columns, rows, padded, levels=[0.5], colors=[_shade(color)], linewidths=0.9)
    for x0, y0, x1, y1 in panel.boxes:
        for style, shade in (("-", "black"), ((0, (3, 3)), "white")):
            axes.add_patch(
                Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1, fill=False, lw=0.8, ls=style, ec=shade)
            )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    if panel.score:
        box = {"boxstyle": "round,pad=0.2", "fc": (0, 0, 0, 0.65), "ec": "none"}
        place: Any = {"xy": (0, 0), "xycoords": "axes fraction", "xytext": (4, 5), "textcoords": "offset points"}
        axes.annotate(writable(panel.score), **place, color="white", fontsize=7, bbox=box, zorder=10)


def _legend(figure: Figure, top: float) -> None:
    """What the colours of outlines stand for."""
    x = LABEL
    for name, color in (("target", TARGET), ("prediction", PREDICTION)):
        y = (top - FOOT / 2) / figure.get_figheight()
        figure.add_artist(Line2D([x / WIDTH, (x + 0.16) / WIDTH], [y, y], color=_shade(color), lw=1.5))
        _write(figure, x + 0.2, top - FOOT / 2, name, size=6, ha="left")
        x += 0.75


def _shade(color: Color) -> tuple[float, float, float]:
    red, green, blue = color
    return red / 255, green / 255, blue / 255
