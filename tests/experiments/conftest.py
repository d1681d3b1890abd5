"""The fake experiment, as a module that a test can also start as a program, and entries with given scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp import _paper as definitions
from salip_exp._experiments.results import Entry, Result, corrected
from salip_exp.config import Config, ScoreConfig
from salip_exp.evaluation.statistics import estimate

Scores = Mapping[str, Sequence[float] | None]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fsync guards against, a power cut, happens in no test."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="session")
def fakes(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(Path(__file__).with_name("fakes.py"))


@pytest.fixture(scope="session")
def config() -> Config:
    return Config(score=ScoreConfig(resamples=200))


@pytest.fixture(scope="session")
def constructed() -> Callable[..., Result]:
    """A table whose rows have given scores by column; None is a missing cell."""
    return result


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
