"""Strips of flagged cases: the most doubtful of each data set, of right and of wrong questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salip_exp._experiments.cells import Cell, Finished
from salip_exp._reports import _flagged
from salip_exp._reports._flagged import write_flagged
from salip_exp._runs.records import CaseRecord, fingerprint
from salip_exp.config import Config, DatasetConfig
from salip_exp.data.case import Case, CaseRef


def case(name: str) -> Case:
    return Case(name, "hc18", "all", np.zeros((8, 8, 3), np.uint8), None, None, name)


def record(i: int, confidence: float, flag: str | None, pool: int | None = 3) -> CaseRecord:
    told = {"scores": {"dsc": 0.5, "confidence": confidence}, "flag": flag, "n_pool": pool}
    made = CaseRecord("k", "f", f"c{i}", "hc18", "all", None, None, "salip", "ok", **told)
    return replace(made, fingerprint=fingerprint(case(f"c{i}")))


def cell(records: list[CaseRecord], column: str, absent: bool = False) -> Finished:
    config = Config(dataset=DatasetConfig("hc18", "hc18", absent=absent))
    refs = [CaseRef(each.case_id, "all", each.case_id, lambda name=each.case_id: case(name)) for each in records]
    return Finished(Cell("hc18", column, ()), config, Path(), records, refs, lambda: None)  # type: ignore[arg-type, return-value]


@pytest.fixture
def drawn(monkeypatch) -> None:
    monkeypatch.setattr(_flagged, "strip_of", lambda *_: Image.new("RGB", (4, 2)))


@pytest.mark.usefixtures("drawn")
def test_the_most_doubtful_of_each_data_set_are_drawn(tmp_path: Path) -> None:
    clean = cell([record(0, 0.4, "prompt"), record(1, 0.9, None), record(2, 0.1, "text", None)], "clean")
    blurred = cell([record(3, 0.3, "prompt"), record(4, 0.2, "text")], "blur:4")
    wrong = cell([record(5, 0.05, "text")], "asked nonsense", absent=True)
    entries = write_flagged(tmp_path, [clean, blurred, wrong])
    assert [each["cases"] for each in entries] == [["c4"], ["c3"], ["c5"]]
    assert entries[0]["rule"] == "hc18 blur:4, c4: flagged (text), confidence 0.200, DSC 0.500"
    assert all((tmp_path / each["file"]).exists() for each in entries)


@pytest.mark.usefixtures("drawn")
def test_a_case_that_is_not_what_was_scored_is_told_and_not_drawn(tmp_path: Path) -> None:
    other = replace(record(0, 0.4, "prompt"), fingerprint="other")
    (entry,) = write_flagged(tmp_path, [cell([other], "clean")])
    assert entry["file"] is None and "changed after it was scored" in entry["notes"][0]
    assert not [*tmp_path.iterdir()]
