"""A run folder of 0.1.0, whose records held scores as fields of their own, is read, continued and compared."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from salip_exp._commands import report
from salip_exp.errors import CaseError
from salip_exp.evaluation.metrics import FACT
from salip_exp.runs.folder import State, read_run
from salip_exp.runs.records import RECORD_VERSION, read_record, record_path

OLD = Path(__file__).with_name("of_0.1.0")


@pytest.fixture
def folder(tmp_path) -> Path:
    return shutil.copytree(OLD, tmp_path / "outputs" / "fake" / "old")


def cases_of(fakes) -> list:
    """The cases that it was made from: two volumes, with a head's measure, a note, and a target that is missing."""
    cases = [fakes.make_case(i, f"v{i // 3}/axial_{i}", f"v{i // 3}") for i in range(6)]
    cases[0] = replace(cases[0], facts={FACT: 20.0})
    cases[1] = replace(cases[1], notes=("a note",))
    cases[4] = replace(cases[4], mask=None)
    return cases


def summary(folder: Path) -> dict:
    """What a run comes to; 0.1.0 kept there what pictures there are, too, and had other intervals."""
    found = json.loads((folder / "summary.json").read_text())
    found["notes"] = [each for each in found["notes"] if not re.match("between groups|.* by an older version", each)]
    later = ("figures", "strips", "definitions", "gap")
    return {name: means(value) for name, value in found.items() if name not in later}


def means(part):
    """Without intervals, numbers of subjects and what failures are by the rule of then, at any depth."""
    if not isinstance(part, dict):
        return part
    others = ("low", "high", "interval", "subjects", "failures", "losses")
    return {name: means(value) for name, value in part.items() if name not in others}


def torn(case) -> None:
    if case.case_id == "v1/axial_5":
        raise CaseError("E_READ", 'gone, "torn"')


def test_its_records_come_in_todays_form(folder):
    record = read_record(record_path(folder, "v0/axial_0"))
    old = json.loads(record_path(folder, "v0/axial_0").read_text())
    assert record.version == RECORD_VERSION > old["version"]
    assert record.scores == {name: old[name] for name in ("dsc", "iou", "hd95", "nsd", "hc_mm", "hc_error_mm")}
    assert record.similarities == old["scores"] == [0.123457]


def test_it_is_finished_and_whole(folder):
    run = read_run(folder)
    assert (run.label, len(run.records), run.unreadable) == (State.finished, 6, 0)


def test_it_is_continued_from_its_records_to_the_same_bytes(fakes, folder):
    method = fakes.Threshold(before=torn)
    fakes.run_fake(folder, cases_of(fakes), method, figures="none", max_failed=1.0, resume=True)
    assert json.loads((folder / "manifest.json").read_text())["resumed"]["reused"] == 5
    assert method.seen == [], "only the case that had failed is tried again"
    table, old = (pd.read_csv(place / "cases.csv", dtype=str) for place in (folder, OLD))
    assert table.pop("subject").isna().sum() == 5, "old records do not tell it"
    assert all(table.pop(name).isna().all() for name in list(table) if name.startswith("lost_"))
    assert set(table) - set(old) == {"image", "mask", "prediction"}
    pd.testing.assert_frame_equal(table[list(old)], old)
    assert summary(folder) == summary(OLD)
    found = json.loads((folder / "summary.json").read_text())
    assert "4 of 6 cases were finished by an older version" in " ".join(found["notes"])
    assert found["overall"]["losses"] == json.loads((OLD / "summary.json").read_text())["overall"]["losses"]


def test_the_same_cases_come_to_the_same_bytes_today(fakes, folder, tmp_path):
    method = fakes.Threshold(before=torn)
    fakes.run_fake(tmp_path / "new", cases_of(fakes), method, figures="none", max_failed=1.0)
    table, old = (pd.read_csv(place / "cases.csv", dtype=str) for place in (tmp_path / "new", folder))
    shared = [name for name in old if not name.startswith("seconds_") and name != "failure"]
    assert table.pop("subject").tolist() == [f"v{i // 3}" for i in range(6)]
    pd.testing.assert_frame_equal(table[shared], old[shared])
    assert summary(tmp_path / "new") == summary(OLD)
    keys = [[each.key for each in read_run(place).records] for place in (folder, tmp_path / "new")]
    assert keys[0] == keys[1]


def test_it_is_reported_and_compared_with_what_it_lacks_as_missing(fakes, folder, tmp_path):
    found = json.loads((folder / "summary.json").read_text())
    for part in (found["overall"], *found["groups"].values()):
        del part["nsd"], part["iou"]
    (folder / "summary.json").write_text(json.dumps(found))
    fakes.run_fake(folder.parent / "new", cases_of(fakes)[:4], figures="none")
    outputs = tmp_path / "outputs"
    assert report.command(fakes.config(outputs=str(outputs)), outputs, []) == 0
    page = (folder / "report.html").read_text()
    assert ">finished</span>" in page and '<td class="nowrap">missing</td>' in page
    assert ">missing</td>" in (outputs / "index.html").read_text()
    assert '"n":4' in (outputs / "compare.html").read_text().replace(" ", "")
