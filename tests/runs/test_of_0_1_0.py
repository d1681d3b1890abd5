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
from salip_exp._runs.folder import State, read_run
from salip_exp._runs.records import RECORD_VERSION, StaleRecord, read_record, record_path, reusable
from salip_exp._runs.summary import BELIEFS
from salip_exp.errors import CaseError
from salip_exp.evaluation.metrics import FACT

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


OTHERWISE = ("seconds_", "hc_")
"""Beginnings of columns that differ: times, and circumferences, which 0.1.0 measured half a pixel inside."""


def summary(folder: Path) -> dict:
    """What a run comes to; 0.1.0 kept there what pictures there are, too, and had other intervals."""
    found = json.loads((folder / "summary.json").read_text())
    found["notes"] = [each for each in found["notes"] if not re.match("between groups|.* by an older version", each)]
    later = ("figures", "strips", "definitions", "gap", "score_at", "risk", "poor_below")
    return {name: means(value) for name, value in found.items() if name not in later}


def means(part):
    """Without intervals, circumferences, subjects, and failures by the rule of then, at any depth."""
    if not isinstance(part, dict):
        return part
    others = ("low", "high", "interval", "subjects", "hc_error", "hc_abs_error", "failures", "losses", "flagged")
    return {name: means(value) for name, value in part.items() if name not in others}


def torn(case) -> None:
    if case.case_id == "v1/axial_5":
        raise CaseError("E_READ", 'gone, "torn"')


def test_its_records_come_in_todays_form(folder):
    record = read_record(record_path(folder, "v0/axial_0"))
    old = json.loads(record_path(folder, "v0/axial_0").read_text())
    assert record.version == old["version"] < RECORD_VERSION
    assert record.scores == {name: old[name] for name in ("dsc", "iou", "hd95", "nsd", "hc_mm", "hc_error_mm")}
    assert record.similarities == old["scores"] == [0.123457]


def test_a_circumference_half_a_pixel_inside_the_outline_is_measured_again(folder):
    path = record_path(folder, "v0/axial_0")
    old = json.loads(path.read_text())
    with pytest.raises(StaleRecord, match="half a pixel inside"):
        reusable(folder, "v0/axial_0", old["key"])
    path.write_text(json.dumps(old | {"hc_mm": None}))
    assert reusable(folder, "v0/axial_0", old["key"]).dsc == old["dsc"]


def test_it_is_finished_and_whole(folder):
    run = read_run(folder)
    assert (run.label, len(run.records), run.unreadable) == (State.finished, 6, 0)


def test_it_is_continued_from_its_records_to_the_same_bytes(fakes, folder):
    method = fakes.Threshold(before=torn)
    fakes.run_fake(folder, cases_of(fakes), method, figures="none", max_failed=1.0, resume=True)
    assert json.loads((folder / "manifest.json").read_text())["resumed"]["reused"] == 4
    assert method.seen == ["v0/axial_0"], "beside it only the case that had failed is tried again"
    table, old = (pd.read_csv(place / "cases.csv", dtype=str) for place in (folder, OLD))
    assert table.pop("subject").isna().sum() == 4, "old records do not tell it"
    assert sum(table.pop(name).notna().any() for name in list(table) if name.startswith("lost_")) >= 1
    later = {"image", "mask", "prediction", "score_at", "stress", "seconds_attribution", "seconds_confidence"}
    later |= {"dsc_at_least", "flag", "flag_reason", "repaired", "dsc_before", "confidence_before", "roi_recall"}
    assert set(table) - set(old) == later | set(BELIEFS)
    shared = [name for name in old if not name.startswith(OTHERWISE) and name != "failure"]
    pd.testing.assert_frame_equal(table[shared], old[shared])
    assert summary(folder) == summary(OLD)
    found = json.loads((folder / "summary.json").read_text())
    assert "3 of 6 cases were finished by an older version" in " ".join(found["notes"])
    before = json.loads((OLD / "summary.json").read_text())["overall"]["losses"]
    assert sum(found["overall"]["losses"].values()) == pytest.approx(sum(before.values()), abs=1e-12)


def test_the_same_cases_come_to_the_same_bytes_today(fakes, folder, tmp_path):
    method = fakes.Threshold(before=torn)
    fakes.run_fake(tmp_path / "new", cases_of(fakes), method, figures="none", max_failed=1.0)
    table, old = (pd.read_csv(place / "cases.csv", dtype=str) for place in (tmp_path / "new", folder))
    shared = [name for name in old if not name.startswith(OTHERWISE) and name != "failure"]
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
    assert ">finished, 1 of 6 cases failed</span>" in page and '<td class="nowrap">missing</td>' in page
    assert ">missing</td>" in (outputs / "index.html").read_text()
    assert '"n":4' in (outputs / "compare.html").read_text().replace(" ", "")
