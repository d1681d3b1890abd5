"""What a run came to, in one line and a few figures: the top of its page, and the end of its output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from salip_exp._reports.run_tables import BELIEFS
from salip_exp._wording import counted, failed, interval, many, number


@dataclass(frozen=True)
class Figure:
    """One large figure.

    Attributes:
        label: what it is of.
        value: the figure.
        detail: what it needs beside it: its interval, its n, its group.
        bad: whether it asks for attention.
    """

    label: str
    value: str
    detail: str
    bad: bool = False


def headline(summary: Mapping[str, Any]) -> list[Figure]:
    """Mean DSC, the worst group, the share that is flagged, what lost most, and failed cases, as far as there are any.

    Args:
        summary: of a finished run.
    """
    return [each for each in _figures(summary) if each is not None]


def verdict(summary: Mapping[str, Any]) -> str:
    """The same as one sentence."""
    overall, doubt = summary["overall"], summary.get("doubt")
    if doubt:
        begin = f"{BELIEFS[doubt]} {number(_mean_of(overall, doubt))} on {many(overall['cases'], 'case')}, not scored"
    else:
        begin = f"DSC {interval(overall['dsc'])}, n = {counted(overall)}"
    rest = [f"{each.label} {each.value} ({each.detail})" for each in headline(summary)[1:]]
    return "; ".join([begin, *rest])


def _figures(summary: Mapping[str, Any]) -> Iterator[Figure | None]:
    overall = summary["overall"]
    doubt = summary.get("doubt")
    n = overall["cases"]
    if doubt:
        yield Figure(BELIEFS[doubt], number(_mean_of(overall, doubt)), f"no targets; {many(n, 'case')}")
    else:
        mean, _, ends = interval(overall["dsc"]).partition(" ")
        cases = counted(overall)
        yield Figure("DSC", mean, f"{ends} n = {cases}".strip(), overall["dsc"]["mean"] is None)
        yield _worst(summary["groups"])
    flags = overall.get("flagged")
    if flags is not None:
        flagged = sum(flags.values())
        yield Figure("flagged", f"{100 * flagged / n:.0f} %" if n else "–", f"{flagged} of {n}", flagged > 0)
    if not doubt:
        yield _lost(overall["losses"])
    spoilt = failed(overall["statuses"])
    yield Figure("failed", str(spoilt), f"of {many(n, 'case')}", True) if spoilt else None


def _mean_of(overall: Mapping[str, Any], measure: str) -> float | None:
    mean: float | None = (overall.get(measure) or {}).get("mean")
    return mean


def _worst(groups: Mapping[str, Any]) -> Figure | None:
    """The group of the lowest mean; None where there is one group."""
    known = {name: part["dsc"] for name, part in groups.items() if part["dsc"]["mean"] is not None}
    if len(known) < 2:
        return None
    name = min(known, key=lambda each: known[each]["mean"])
    return Figure("worst group", number(known[name]["mean"]), f"{name}, n = {known[name]['n']}")


def _lost(losses: Mapping[str, float]) -> Figure | None:
    """The stage that lost most DSC; None where nothing was lost, or nothing can be blamed."""
    total = sum(losses.values())
    if not total > 0:
        return None
    stage = max(losses, key=lambda each: losses[each])
    return Figure("lost most", stage, f"{losses[stage]:.3f} of {total:.3f} DSC")
