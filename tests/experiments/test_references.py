"""Reverse accuracy of cells: by references of other subjects, of rightly asked cases alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salip_exp._experiments import _references
from salip_exp._experiments._references import REVERSE, with_reverse
from salip_exp._experiments.cells import Cell, Finished
from salip_exp._runs.records import CaseRecord, fingerprint
from salip_exp.config import Config, DatasetConfig
from salip_exp.data.case import Case, CaseRef

TARGET = np.zeros((32, 32), bool)
TARGET[8:24, 8:24] = True


def case(name: str) -> Case:
    return Case(name, "hc18", "all", np.repeat(TARGET[..., None] * np.uint8(200), 3, axis=2), TARGET, None, name)


def cell(names: list[str], stress: str | None = None, absent: bool = False, other: str = "") -> Finished:
    config = Config(dataset=DatasetConfig("hc18", "hc18", absent=absent), stress=stress)
    refs = [CaseRef(name, "all", name, lambda name=name: case(name)) for name in names]
    records = [
        CaseRecord("k", fingerprint(case(name)) + other, name, "hc18", "all", None, None, "salip", "ok", name)
        for name in names
    ]
    return Finished(Cell("hc18", "c", ()), config, Path(), records, refs, lambda: None)  # type: ignore[arg-type, return-value]


@pytest.fixture(autouse=True)
def predicted(monkeypatch) -> None:
    monkeypatch.setattr(_references, "scored_mask", lambda folder, record: TARGET if record.case_id != "b" else ~TARGET)


def told(cell: Finished) -> list[float | None]:
    return [each.confidence.get(REVERSE) for each in cell.records]


def test_cells_of_a_data_set_share_the_references_of_its_clean_one() -> None:
    clean, blurred, wrong = with_reverse([cell(["a", "b"]), cell(["a", "b"], "blur:4"), cell(["a"], absent=True)])
    assert told(clean) == told(blurred) == [1.0, pytest.approx(0, abs=0.01)]
    assert told(wrong) == [None], "references are of another organ"


def test_without_a_reference_of_another_subject_nothing_is_measured() -> None:
    assert told(with_reverse([cell(["a"])])[0]) == told(with_reverse([cell(["a", "b"], "blur:4")])[0])[:1] == [None]


def test_what_is_not_what_was_scored_is_left_out() -> None:
    assert told(with_reverse([cell(["a", "b"], other="x")])[0]) == [None, None]
    failed = cell(["a", "b"])
    failed = replace(failed, records=[replace(each, status="failed(E_READ)") for each in failed.records])
    assert told(with_reverse([failed])[0]) == [None, None]
