"""What a record keeps of a repaired case, and that those that are not flagged are as they would be without repair."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salip_exp._runs import _cases
from salip_exp._runs.records import before_path, prediction_path, read_record, record_path
from salip_exp.config import RepairConfig, RepairStep
from salip_exp.evaluation._assessment import Assessment
from salip_exp.evaluation._repair import Outcome
from salip_exp.evaluation.flags import REASONS, Stage
from salip_exp.evaluation.metrics import dice, overlap

MENDED, FLAGGED, KEPT = "case_00", "case_01", "case_02"


@pytest.fixture
def folder(fakes, tmp_path: Path, monkeypatch) -> Path:
    """A run of three cases: one is repaired, one is flagged and stays, one is not flagged."""
    told = iter([MENDED, FLAGGED, KEPT])

    def assessed(prediction, assess, config) -> Outcome:
        name = next(told)
        if name == MENDED:
            whole = replace(prediction, mask=np.ones_like(prediction.mask))
            return Outcome(whole, Assessment({"shape": 1.0}, 0.7, 0.1), RepairStep.union, 0.2)
        flag = Stage.prompt if name == FLAGGED else None
        return Outcome(prediction, Assessment({"shape": 0.5}, 0.3 if flag else 0.9, 0.0, flag))

    monkeypatch.setattr(_cases, "assessed", assessed)
    fakes.run_fake(tmp_path / "run", fakes.default_cases()[:3], repair=RepairConfig("ladder", enabled=True))
    return tmp_path / "run"


def mask(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture) > 0


def test_a_repaired_case_keeps_what_it_was(fakes, folder: Path) -> None:
    case = fakes.default_cases()[0]
    record = read_record(record_path(folder, MENDED))
    first = mask(before_path(folder, MENDED))
    assert mask(prediction_path(folder, MENDED)).all() and not first.all()
    assert record.repaired == "union" and record.before["confidence"] == 0.2
    counts = overlap(first, case.mask)
    met = {"dsc": counts.dice(), "precision": counts.precision, "recall": counts.recall, "roi_recall": counts.recall}
    assert record.before == {"confidence": 0.2} | met and record.roi_recall == 1
    assert record.dsc == dice(np.ones_like(case.mask), case.mask)
    assert [path.name for path in (folder / "before").iterdir()] == [f"{MENDED}.png"]


def test_tables_and_page_say_what_is_flagged_and_what_was_repaired(folder: Path, capsys) -> None:
    table = pd.read_csv(folder / "cases.csv").set_index("case_id")
    assert table.flag.dropna().to_dict() == {FLAGGED: "prompt"} and table.flag_reason[FLAGGED] == REASONS["prompt"]
    assert table.repaired.dropna().to_dict() == {MENDED: "union"} and table.confidence_before[MENDED] == 0.2
    assert table.confidence.tolist() == [0.7, 0.3, 0.9] and table["shape"].tolist() == [1.0, 0.5, 0.5]
    overall = json.loads((folder / "summary.json").read_text())["overall"]
    assert (overall["flagged"], overall["repaired"]) == ({"prompt": 1}, {"union": 1})
    page = (folder / "report.html").read_text()
    assert "1 of 3 cases are flagged" in page and "repaired by" in page and "look at its outline" in page


def test_a_case_that_is_not_flagged_is_as_it_is_without_repair(
    fakes, folder: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.undo()
    fakes.run_fake(tmp_path / "plain", fakes.default_cases()[:3])
    for name in (FLAGGED, KEPT):
        one, other = (prediction_path(each, name).read_bytes() for each in (folder, tmp_path / "plain"))
        assert one == other
        assert read_record(record_path(folder, name)).dsc == read_record(record_path(tmp_path / "plain", name)).dsc
    assert not (tmp_path / "plain" / "before").exists()
