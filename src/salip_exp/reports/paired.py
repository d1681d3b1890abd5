"""How much DSC differs between any two runs, with the interval of the mean, for `compare.html`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

from salip_exp.evaluation.statistics import Comparison, compare
from salip_exp.runs.folder import RunFolder
from salip_exp.runs.records import CaseRecord, volumes_of

LATEST = 30  # runs of a data set: hundreds, two by two, would take minutes
REMEMBERED = 8192  # comparisons: those of 17 data sets with so many runs
Scores = tuple[tuple[str, str, float | None], ...]
"""Id, volume (empty: none) and DSC of every case."""


def paired_differences(runs: Sequence[tuple[str, RunFolder]]) -> list[dict[str, Any]]:
    """The mean of the paired difference B - A for any two of the latest runs of a data set; each with itself, too.

    Args:
        runs: with their names, the latest first.

    Returns:
        Ready for JSON: `a` and `b` by name; `n` common cases; `volumes` that were resampled, or None; `difference`,
        `low`, `high`. Pairs without a common case are left out.
    """
    datasets: dict[str, list[tuple[str, Scores]]] = {}
    for name, run in runs:
        if run.records:
            datasets.setdefault(run.records[0].dataset, []).append((name, scores_of(run.records)))
    pairs = [pair for each in datasets.values() for pair in combinations_with_replacement(each[:LATEST], 2)]
    entries = [_entry(a, b, compared(ours, other), ours) for (a, ours), (b, other) in pairs]
    return [each for each in entries if each["n"]]


def scores_of(records: Sequence[CaseRecord]) -> Scores:
    """What a comparison needs of cases; volumes count where every case is a slice of one, as in a run's summary."""
    volumes = volumes_of(records) or [""] * len(records)
    return tuple((each.case_id, volume, each.dsc) for each, volume in zip(records, volumes, strict=True))


@lru_cache(REMEMBERED)  # `report.watch` writes the page again and again, while most runs stay as they are
def compared(a: Scores, b: Scores) -> Comparison:
    """B less A over their common cases, resampled by volume where A has volumes."""
    ours, other = ({name: dsc for name, _, dsc in each} for each in (b, a))
    volumes = {name: volume for name, volume, _ in a}
    return compare(ours, other, volumes if all(volumes.values()) else None)


def _entry(a: str, b: str, found: Comparison, scores: Scores) -> dict[str, Any]:
    shown = {"n": found.n, "difference": found.difference, "low": found.low, "high": found.high}
    return {"a": a, "b": b, "volumes": found.pairs if scores[0][1] else None, **shown}
