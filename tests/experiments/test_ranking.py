"""How another text ranks the same candidates: the same choice or another, in which order, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salip_exp._experiments import ranking as module
from salip_exp._experiments.cells import plan
from salip_exp._experiments.composing import absent_text, overrides_of
from salip_exp._experiments.ranking import ranking, told
from salip_exp._runs.candidates import _FIELDS
from salip_exp.config import Config, Data, ExperimentConfig, ScoreConfig, Texts


@dataclass
class Scored:
    """A case: the scores of its candidates, what was chosen, and its DSC."""

    case_id: str
    scores: list[float]
    dsc: float | None = 0.5
    subject: str | None = None
    area: int = 7
    selected: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.selected = [int(np.argmax(self.scores))] if self.scores else []


def table(folder: Any, record: Scored) -> Any:
    found = np.zeros(len(record.scores), [*_FIELDS, ("sentences", "<f4", (0,))])
    found["candidate"], found["kept"], found["score"] = np.arange(len(found)), True, record.scores
    found["area"] = record.area
    return found


@pytest.fixture
def ranked(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "read_table", table)
    config = Config(score=ScoreConfig(resamples=100))

    def rank(ours: list[Scored], other: list[Scored]) -> Any:
        cells = (SimpleNamespace(folder=Path("x"), records=each) for each in (ours, other))
        return ranking("CC359", ("ours", "other"), *cells, config)  # type: ignore[arg-type]

    return rank


def test_the_same_scores_are_the_same_ranking(ranked: Any) -> None:
    cases = [Scored("a", [0.1, 0.3, 0.2]), Scored("b", [0.5, 0.1])]
    found = ranked(cases, cases)
    assert (found.n, found.same["mean"], found.likeness["mean"], found.place, found.changed) == (2, 1, 1, 1, [])


def test_turned_scores_are_the_opposite(ranked: Any) -> None:
    ours = [Scored("a", [0.1, 0.3, 0.2], 0.9), Scored("b", [0.3, 0.1, 0.2], 0.5)]
    other = [Scored(each.case_id, [-value for value in each.scores], 0.4) for each in ours]
    found = ranked(ours, other)
    assert (found.same["mean"], found.place) == (0, 3)
    assert found.likeness["mean"] == pytest.approx(-1)
    assert found.changed == [("a", 0.9, 0.4), ("b", 0.5, 0.4)]
    assert "the same choice in 0 % of 2 cases" in told(found)


def test_what_cannot_be_compared_is_not_counted(ranked: Any) -> None:
    ours = [
        Scored("a", [0.1, 0.3]),
        Scored("b", [0.1, 0.3]),
        Scored("c", []),
        Scored("gone", [1.0]),
        Scored("d", [0.2]),
    ]
    other = [Scored("a", [0.1, 0.3], area=8), Scored("b", [0.1, 0.3, 0.2]), Scored("c", []), Scored("d", [0.9])]
    found = ranked(ours, other)
    assert (found.n, found.likeness["mean"], found.likeness["missing"]) == (1, None, 1)
    assert "correlation of scores missing" in told(found)
    assert "not told" in told(ranked(ours[:3], other[:3]))


def test_subjects_count_once(ranked: Any) -> None:
    cases = [Scored(f"{i}", [0.1, 0.2 + i], subject=f"volume {i // 4}") for i in range(8)]
    assert ranked(cases, cases).same["interval"] == "subjects"


@pytest.mark.parametrize("data", list(Data))
def test_a_text_that_is_given_is_typed_and_one_that_is_not_is_missing(data: Data) -> None:
    cells = {(cell.dataset, cell.column): cell for cell in plan(["sentences"])}
    texts = Texts(authors="clip_prompts", hc18="heads.yaml")
    config = Config(data=data, experiment=ExperimentConfig("sentences", texts=texts))
    typed = overrides_of(cells["hc18", "authors_text"], config, ["vdt.file=mine.txt", "sam=tiny"])
    assert "vdt.file=clip_prompts/fetal_head.json" in typed and "vdt.file=mine.txt" not in typed and "sam=tiny" in typed
    assert "vdt.file=heads.yaml" in overrides_of(cells["hc18", "described_text"], config, [])
    assert absent_text(cells["hc18", "described_text"], config) is None
    assert "experiment.texts.xray=FILE" in str(absent_text(cells["xray", "described_text"], config))
    assert "experiment.texts.authors=DIR" in str(absent_text(cells["xray", "authors_text"], Config()))
    assert absent_text(cells["hc18", "salip"], Config()) is None
