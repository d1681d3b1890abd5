"""What the confidence in records is worth: cases of a run, of several, and questions that were right or wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from salip_exp._reports.listeners import show
from salip_exp._runs.records import CaseRecord
from salip_exp._runs.risk import detection_of, detections, pairs_of
from salip_exp._settings.folders import File
from salip_exp.config import ScoreConfig


def record(
    i: int, dsc: float | None, told: float | None, dataset: str = "fake", subject: str | None = None
) -> CaseRecord:
    return CaseRecord(
        "k",
        "f",
        f"{i}",
        dataset,
        "g",
        None,
        None,
        "salip",
        "ok",
        subject or f"s{i}",
        scores={"dsc": dsc},
        predicted_iou=told,
    )


def test_each_measure_that_is_told_is_judged(fakes):
    records = [
        record(i, dsc, told) for i, (dsc, told) in enumerate([(0.9, 0.9), (0.5, 0.2), (None, 0.4), (0.95, None)])
    ]
    (found,) = detections(records, fakes.config()).values()
    assert (found.n, found.missing, found.poor, found.subjects) == (2, 2, 1, None)
    assert found.measures["auroc"].value == 1
    assert pairs_of(records, "predicted_iou") == ([0.9, 0.2], [0.9, 0.5])


def test_what_is_poor_is_a_key(fakes):
    records = [record(0, 0.75, 0.2), record(1, 0.95, 0.8)]
    poor = [
        detections(records, fakes.config(score=ScoreConfig(resamples=100, poor_below=each)))["predicted_iou"].poor
        for each in (0.7, 0.8, 0.96)
    ]
    assert poor == [0, 1, 2]


def test_the_same_subject_under_stress_stays_one_and_that_of_another_data_set_is_another(fakes):
    records = [record(i, 0.5 + 0.1 * (i % 4), 0.3, "a" if i < 4 else "b", f"s{i % 2}") for i in range(8)]
    assert detections(records, fakes.config())["predicted_iou"].subjects == 4


def test_without_targets_or_without_confidence_nothing_is_judged(fakes):
    assert detections([record(0, None, 0.5)], fakes.config()) == {}
    assert detections([record(0, 0.5, None)], fakes.config()) == {}
    assert detections([], fakes.config()) == {}


def test_questions_are_judged_by_whether_they_were_right(fakes):
    records = [record(0, 0.1, 0.9), record(1, 0.0, 0.2)]
    found = detection_of(records, "predicted_iou", [1.0, 0.0], fakes.config(), threshold=0.5)
    assert (found.poor, found.measures["auroc"].value) == (1, 1)


def test_a_run_tells_it_in_summary_terminal_and_page(fakes, tmp_path, capsys):
    assert fakes.run_fake(tmp_path, figures="none") == 0
    summary = json.loads((tmp_path / File.summary).read_text())
    found = summary["risk"]["predicted_iou"]
    assert (found["n"], summary["poor_below"]) == (12, 0.8)
    page = (tmp_path / File.report).read_text()
    assert "Risk and coverage" in page and "risk over coverage" in page
    poor = found["poor"]
    capsys.readouterr()
    show(tmp_path, "outputs", [])
    assert ("AUROC" in capsys.readouterr().out) is (0 < poor < 12)


def test_a_run_under_stress_and_one_of_absent_organs_say_so(fakes, tmp_path):
    cases = [replace(each, stress="blur:2", mask=np.zeros_like(each.mask)) for each in fakes.default_cases()]
    data = replace(fakes.config().dataset, absent=True)
    assert fakes.run_fake(tmp_path, cases, figures="none", stress="blur:2", dataset=data) == 0
    summary = json.loads((tmp_path / File.summary).read_text())
    assert (summary["stress"], summary["absent"]) == ("blur:2", True)
    assert any(note.startswith("stress=blur:2, drawn with seed 1234") for note in summary["notes"])
    assert any("the organ asked for is in no image" in note for note in summary["notes"])
    page = (tmp_path / File.report).read_text()
    assert "stress=blur:2" in page
    assert ",blur:2," in (tmp_path / File.case_table).read_text().splitlines()[1]
    assert summary["overall"]["dsc"]["mean"] == 0
