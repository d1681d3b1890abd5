"""The terminal's tables of a run: by group, what is most in doubt where nothing is scored, and volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from salip_exp._console import table
from salip_exp._settings.folders import File
from salip_exp._wording import MISSING, counted, failed, heading, mean, number, tally, title
from salip_exp.evaluation import scores
from salip_exp.evaluation._volumes import FIGURES

BELIEFS = {
    "confidence": "confidence",
    "stability": "stability",
    "agreement": "agreement",
    "predicted_iou": "predicted IoU",
    "margin": "margin",
    "pairwise": "pairwise Dice",
    "ensemble": "ensemble",
    "sentences": "sentences",
    "contrast": "contrast",
    "shape": "shape",
    "pair": "pair",
}
"""Measures of confidence and their names for people."""
SHOWN = ("confidence", "stability", "agreement", "predicted_iou", "margin")
"""Those that tables show beside the one that cases are sorted by; `cases.csv` has all."""
_VOLUMES = {
    "dsc": ("DSC", 3),
    "hd95": ("HD95 mm", 1),
    "nsd": ("surface Dice", 3),
    "predicted_ml": ("predicted ml", 1),
    "target_ml": ("target ml", 1),
    "difference_ml": ("difference ml", 1),
}
"""Figures of volumes, their names for people with units, and digits."""
_FIRST = 10
"""Rows of cases or volumes that a terminal shows."""


def of_groups(summary: Mapping[str, Any]) -> Table:
    """A row for each group and one for all; n is the number of cases in the means of its row."""
    return _unscored(summary) if summary.get("doubt") else _scored(summary)


def _scored(summary: Mapping[str, Any]) -> Table:
    return _filled(headed(summary, "group"), summary, lambda part: cells(part, summary))


def headed(summary: Mapping[str, Any], *names: str) -> Table:
    """A table without rows, with columns of names, of n, of every mean that the terminal shows, and of failures."""
    result = _table(title(summary), (*names, "n"))
    for each, style, _ in scores.shown(summary, "terminal"):
        head = heading(each.title, style, summary["confidence"])
        result.add_column(Text(head), justify="left" if style == "spread" else "right")
    result.add_column("lost by", style="yellow")
    result.add_column("failed", justify="right")
    return result


def cells(part: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """The row of a part of a summary in such a table, after its names."""
    columns = scores.shown(summary, "terminal")
    means = [mean(part.get(each.name), style, digits) for each, style, digits in columns]
    return [counted(part), *means, tally(part["failures"], unsaid="none"), str(failed(part["statuses"]))]


def _unscored(summary: Mapping[str, Any]) -> Table:
    """Means of confidence in place of scores."""
    names = [name for name in shown_with(summary["doubt"]) if name in summary["overall"]]
    heads = [f"{BELIEFS[name]} mean ± sd" for name in names]
    result = _table(title(summary), ("group", "n", *heads, "other than ok"))

    def cells(part: Mapping[str, Any]) -> list[str]:
        n = part["cases"] - failed(part["statuses"])
        means = [_believed(part.get(name)) for name in names]
        return [f"{n} of {part['cases']}" if n < part["cases"] else str(n), *means, tally(part["statuses"], "ok")]

    return _filled(result, summary, cells)


def shown_with(doubt: str | None) -> list[str]:
    """The measures of confidence that tables show, the one that cases are sorted by (None: they are not) the first."""
    return list(dict.fromkeys([*([doubt] if doubt else []), *SHOWN]))


def _believed(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["mean"] is None:
        return MISSING
    return f"{estimate['mean']:.3f}" + ("" if estimate["sd"] is None else f" ± {estimate['sd']:.3f}")


def most_doubtful(cases: pd.DataFrame, doubt: str) -> Table:
    """The cases to look at first.

    Args:
        cases: of a run, as `cases.parquet` has them.
        doubt: the measure that they are sorted by.
    """
    order = [name for name in shown_with(doubt) if cases[name].notna().any()]
    said = f"most doubtful first, by {BELIEFS[doubt]} (score.doubt={doubt})"
    result = _table(said, ("case", "group", *(BELIEFS[name] for name in order), "status"))
    first = cases.sort_values(doubt, na_position="first", kind="stable").head(_FIRST)
    for _, row in first.iterrows():
        values = [_number(row[name], 3) for name in order]
        result.add_row(*map(Text, (row["case_id"], row["group"], *values, row["status"])))
    result.caption = _more(len(cases), File.case_table)
    return result


def flagged(part: Mapping[str, Any]) -> str:
    """How many cases are flagged, why, and how many were repaired; empty where none is, or where it is not known."""
    stages = part.get("flagged") or {}
    by = ", ".join(f"{stage} {n}" for stage, n in stages.items())
    mended = sum((part.get("repaired") or {}).values())
    said = [f"{sum(stages.values())} of {part['cases']} cases are flagged ({by}): see their page"] * bool(stages)
    return "; ".join([*said, *[f"{mended} were repaired"] * bool(mended)])


@dataclass(frozen=True)
class VolumeRows:
    """The table of volumes, as text.

    Attributes:
        heads: of the figures that any volume has, with units.
        rows: of each volume its name, its group, its figures, and what has to be said of it.
        means: of the figures over the volumes that have them, with their n.
        definitions: by head.
    """

    heads: list[str]
    rows: list[tuple[str, str, list[str], str]]
    means: list[str]
    definitions: dict[str, str]


def volume_rows(volumes: pd.DataFrame) -> VolumeRows | None:
    """The table of `volumes.csv`; None where no volume has a figure."""
    names = [name for name in _VOLUMES if volumes[name].notna().any()]
    if not names:
        return None
    rows = [
        (row["volume"], row["group"], [_number(row[name], _VOLUMES[name][1]) for name in names], _text(row["note"]))
        for row in volumes.to_dict("records")
    ]
    means = [f"{_number(volumes[name].mean(), _VOLUMES[name][1])} ({volumes[name].count()})" for name in names]
    heads = [_VOLUMES[name][0] for name in names]
    return VolumeRows(heads, rows, means, {_VOLUMES[name][0]: FIGURES[name] for name in names})


def of_volumes(volumes: pd.DataFrame) -> Table | None:
    """The first volumes, and the means of all; None where no volume has a figure."""
    told = volume_rows(volumes)
    if told is None:
        return None
    result = _table("volumes, at native size", ("volume", *told.heads, "note"))
    for volume, _, cells, note in told.rows[:_FIRST]:
        result.add_row(*map(Text, (volume, *cells, note)))
    if len(told.rows) > 1:
        result.add_section()
        result.add_row(*map(Text, ("mean (n)", *told.means, "")), style="bold")
    result.caption = _more(len(volumes), File.volume_table)
    return result


def _table(said: str, heads: Sequence[str]) -> Table:
    words = ("group", "organ", "label", "k", "case", "volume", "status", "note", "other than ok")
    return table(said, *heads, numbers=[head for head in heads if head not in words])


def _filled(result: Table, summary: Mapping[str, Any], cells: Any) -> Table:
    groups = summary["groups"]
    for name, part in groups.items():
        result.add_row(Text(name), *map(Text, cells(part)))
    if len(groups) > 1:  # a single one is all there is
        result.add_section()
        result.add_row(Text("all"), *map(Text, cells(summary["overall"])), style="bold")
    return result


def _number(value: float, digits: int) -> str:
    return number(None if pd.isna(value) else float(value), digits)


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _more(n: int, file: File) -> str | None:
    return f"and {n - _FIRST} more in {file}" if n > _FIRST else None
