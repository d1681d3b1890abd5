"""The pictures of a run on its page, and what is said of a case that is opened there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salip_exp._console import shown as brief_path
from salip_exp._reports.cases import rounded
from salip_exp._reports.overlays import foremost
from salip_exp._reports.run_tables import BELIEFS, SHOWN
from salip_exp._runs.folder import RunFolder
from salip_exp._runs.records import CaseRecord
from salip_exp._settings.differences import config_of
from salip_exp._settings.validate import explorable
from salip_exp.errors import DataError
from salip_exp.evaluation.charges import WHY
from salip_exp.evaluation.flags import REASONS

_PICTURED = 2000
"""Pictures of a gallery, the worst ones; those of other cases are shown when these are opened."""
_IN_DOUBT = {"worst": "most in doubt", "median": "in the middle", "best": "least in doubt"}
"""What rules that choose pictures are called where nothing is scored."""


def caption(strips: Sequence[dict[str, Any]], records: Sequence[CaseRecord], doubt: str | None) -> None:
    """Say below pictures by which rule they were chosen and, where nothing is scored, how much in doubt they are."""
    believed = {each.case_id: each.believed(doubt or "") for each in records}
    for entry in strips:
        value = believed.get(entry["case_id"])
        entry["belief"] = f" · {BELIEFS[doubt]} {value:.3f}" if doubt and value is not None else ""
        entry["rule"] = _ruled(str(entry["rule"]), doubt)


def _ruled(rule: str, doubt: str | None) -> str:
    """A rule in words: `worst 1` of `worst_01`."""
    name, _, rank = rule.partition("_")
    return " ".join(filter(None, (_IN_DOUBT.get(name, name) if doubt else name, rank.lstrip("0"))))


def gallery(
    run: RunFolder, pictures: Mapping[str, list[dict[str, Any]]], first: Mapping[str, int], doubt: str | None
) -> list[dict[str, Any]]:
    """A card for each picture.

    Args:
        run: as read.
        pictures: as the page has them (`page.embedded`).
        first: the strips that the page shows anyway, by case: their number on it.
        doubt: the measure that cases are sorted by where nothing is scored.
    """
    records = {each.case_id: each for each in run.records}
    measure = doubt or next((name for name in SHOWN if any(each.believed(name) for each in run.records)), "")
    strips = {**{each["case_id"]: each["uri"] for each in pictures["strips"]}, **first}
    drawn = [records[each["case_id"]] for each in pictures["figures"] if each["case_id"] in records]
    worst = {each.case_id for each in foremost(drawn, _PICTURED, measure)}
    few = len(pictures["figures"]) <= _PICTURED
    figures = [each for each in pictures["figures"] if few or each["case_id"] in worst]
    return [_card(each, records.get(each["case_id"]), measure, doubt, strips) for each in figures]


def limits(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a page does not show of a run's pictures, and how to see it.

    Args:
        figures: of `read_pictures`.
    """
    n, layered = len(figures), sum("outlines" in each for each in figures)
    which = "those with the lowest DSC" if any(each["dsc"] is not None for each in figures) else "those most in doubt"
    said = []
    if n > _PICTURED:
        said.append(
            f"the gallery has {_PICTURED:,} of {n:,} pictures, {which}: the others lie in figures/, and open with "
            "their case in the table of cases, or by task=explore"
        )
    if 0 < layered < n:  # runs of earlier versions have no layers
        said.append(
            f"outlines are switched on and off in {layered:,} of {n:,} pictures, {which}: of any case that is opened "
            "they are where task=report report.watch=true serves the page, and in task=explore"
        )
    return said


def _card(
    entry: Mapping[str, Any], record: CaseRecord | None, measure: str, doubt: str | None, strips: Mapping[str, Any]
) -> dict[str, Any]:
    """What the gallery shows of a picture; page.js reads it."""
    return {
        "case": entry["case_id"],
        "group": entry["group"],
        "dsc": entry["dsc"],
        "belief": rounded(record.believed(measure) if record else None),
        "by": BELIEFS.get(measure, measure),
        "rule": _ruled(str(entry["rule"]), doubt),
        "lost": record.failure if record and record.failure != "none" else None,
        "flag": record.flag if record else None,
        "src": entry["uri"],
        "size": entry.get("size") or [entry["width"], entry["height"]],
        "outlines": entry.get("outlines", {}),
        "boxes": entry.get("boxes", []),
        "strip": strips.get(entry["case_id"]),
    }


def viewer(run: RunFolder) -> dict[str, Any]:
    """What page.js says of a case that is open.

    Returns:
        `explore`: the command that opens it to try sentences, without the case at its end; empty where there are none
        to try. `odd`: ids of cases that a shell does not take as they are, as it takes them. `why`: what a stage loses
        a case by, or is doubted for.
    """
    place = shlex.quote(f"explore.run={brief_path(run.folder)}")
    quoted = {each.case_id: shlex.quote(each.case_id) for each in run.records}
    return {
        "explore": f"python -m salip_exp task=explore {place} explore.case=" if _is_to_try(run.folder) else "",
        "odd": {name: text for name, text in quoted.items() if name != text},
        "why": {"lost": WHY, "flag": REASONS},
    }


def _is_to_try(folder: Path) -> bool:
    try:
        return explorable(config_of(folder))
    except DataError:
        return False
