"""Tables of the paper with given scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from salip_exp import _paper as definitions
from salip_exp._experiments.results import Entry, Result, corrected
from salip_exp.config import Config, ScoreConfig
from salip_exp.evaluation.statistics import estimate

Scores = Mapping[str, Sequence[float] | None]


def entry(scores: Sequence[float] | None, why: str = "not here") -> Entry:
    if scores is None:
        return Entry((None, None), "missing", why)
    told = estimate(list(scores), resamples=200).to_dict()
    by_case = {f"case {i}": score for i, score in enumerate(scores)}
    return Entry((None, None), "finished", "", len(scores), len(scores), told, told, by_case)


def result(name: str, *rows: Scores, config: Config | None = None) -> Result:
    """The named table of the paper with these scores; columns that a row does not name are missing."""
    table = definitions.table(name)
    given = [
        (row, {key: entry(scores.get(key)) for key in table.columns})
        for row, scores in zip(table.rows, rows, strict=False)
    ]
    return Result(table, corrected(given, table.against, config or Config(score=ScoreConfig(resamples=200))))
