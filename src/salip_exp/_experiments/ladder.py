"""What each stage loses, from runs that climb what is in reach: the charges of SaLIP's cases, found another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from salip_exp._experiments.results import Entry, Result
from salip_exp._paper import SALIP
from salip_exp.config import Config
from salip_exp.evaluation.charges import charged
from salip_exp.evaluation.statistics import estimate

Rungs = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Lost:
    """What the stages lose in one row of a table, on the cases that all of its rungs have.

    Attributes:
        label: of the row.
        stages: mean charge with its interval, by stage along the chain; empty where a rung is missing.
        n: cases.
        subjects: of these cases; None where records do not tell.
        apart: the largest difference to a charge in the record of one of SaLIP's cases; None where none has charges.
    """

    label: str
    stages: Mapping[str, Mapping[str, Any]]
    n: int
    subjects: int | None
    apart: float | None


def lost(result: Result, config: Config) -> list[Lost]:
    """What the stages lose in each row; none for a table without rungs."""
    return [_lost(result, row.label, entries, config) for row, entries in result.rows] if result.table.rungs else []


def _lost(result: Result, label: str, entries: Mapping[str, Entry], config: Config) -> Lost:
    charges = dict(_charges(result.table.rungs, entries))
    told = entries[SALIP].subjects
    subjects = None if told is None else [told[case] for case in charges]
    score = config.score
    stages = {
        stage: estimate(
            [each[stage] for each in charges.values()], subjects, score.resamples, score.confidence, config.seed
        ).to_dict()
        for stage in (result.table.rungs if charges else ())
    }
    return Lost(label, stages, len(charges), len(set(subjects)) if subjects else None, _apart(charges, entries[SALIP]))


def _charges(rungs: Rungs, entries: Mapping[str, Entry]) -> Iterator[tuple[str, dict[str, float]]]:
    """What each stage loses of each case that all columns of the rungs have."""
    scores = {column: entries[column].scores for rung in rungs.values() for column in rung}
    for case in entries[SALIP].scores:
        if all(case in each for each in scores.values()):
            yield case, charged({stage: max(scores[each][case] for each in rung) for stage, rung in rungs.items()})


def _apart(charges: Mapping[str, Mapping[str, float]], salip: Entry) -> float | None:
    pairs = [(charges[case], own) for case, own in salip.charges.items() if case in charges]
    return max((abs(found[stage] - own.get(stage, 0.0)) for found, own in pairs for stage in found), default=None)


def told(losses: Lost) -> str:
    """One sentence on a row."""
    if not losses.stages:
        return f"DSC lost on {losses.label}: missing, a rung is."
    parts = [f"{stage} {each['mean']:.3f}{_ends(each)}" for stage, each in losses.stages.items()]
    counted = f"n = {losses.n}" + ("" if losses.subjects is None else f", {losses.subjects} subjects")
    same = "" if losses.apart is None else f"; the charges of SaLIP's own cases differ by at most {losses.apart:.0e}"
    return f"DSC lost on {losses.label} ({counted}): {', '.join(parts)}{same}."


def _ends(found: Mapping[str, Any]) -> str:
    return "" if found["interval"] == "none" else f" [{found['low']:.3f}, {found['high']:.3f}]"
