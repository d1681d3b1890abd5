"""A run fills its folder, loses nothing, invents nothing, and continues where it stopped."""

from __future__ import annotations

import csv
import errno
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from salip_exp._runs.folder import claim, in_use, read_pictures
from salip_exp._runs.records import prediction_path, record_path
from salip_exp._runs.runner import run
from salip_exp._runs.summary import columns
from salip_exp.config import EmptyTarget, ScoreConfig
from salip_exp.errors import CaseError, DataError, EnvironmentFault, TooManyFailures
from salip_exp.evaluation.metrics import FACT, dice, head_circumference, surface_dice

FAKES = Path(__file__).with_name("fakes.py")
STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    """What fsync guards against, a power cut, happens in no test; without it they take half as long."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def summary(folder: Path) -> dict:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in summary.json")

    return json.loads((folder / "summary.json").read_text(), parse_constant=refuse)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def state(folder: Path) -> str:
    return json.loads((folder / "status.json").read_text())["state"]


def start(folder: Path, cases: int, signals: int = 1, resume: bool = False) -> subprocess.Popen[str]:
    """A process that does so many cases, and goes on after so many signals."""
    arguments = [sys.executable, str(FAKES), str(folder), str(resume).lower(), str(cases), str(signals)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def nothing_goes_on_alone() -> Iterator[None]:
    """A process that waits for a signal would wait for ever after a test that fails."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def heard(folder: Path, signals: int) -> bool:
    """Whether the process waits and so many signals have come."""
    note = folder.with_name(f"{folder.name}.waits")
    return note.exists() and note.read_text() == str(signals)


@pytest.fixture(scope="module")
def finished(fakes, tmp_path_factory) -> Path:
    """A whole run, to look at and to compare with; tests must not change it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert fakes.run_fake(folder) == 0
    return folder


def test_a_run_folder_is_complete(fakes, finished):
    names = {each.name for each in finished.iterdir()}
    assert names == {"config.yaml", "manifest.json", "cases.csv", "cases.parquet", "summary.json", "status.json",
                     "report.html", "cases.js", "cases", "predictions", "figures", "pictures.json",
                     "masks", "candidates", "candidates.parquet", "identity.json"}  # fmt: skip
    assert state(finished) == "finished"
    pictures = [each for kind in ("figures", "strips") for each in read_pictures(finished)[kind]]
    drawn = {each[part] for each in pictures for part in ("file", "image") if part in each}
    assert {f"figures/{each.name}" for each in (finished / "figures").iterdir()} == drawn
    assert len(drawn) == 2 + 3  # an overlay and its image, three strips
    assert not list(finished.rglob("*.tmp"))


def test_rows_are_in_the_order_of_the_data_with_the_promised_columns(fakes, finished):
    table = rows(finished)
    assert [row["case_id"] for row in table] == [f"case_{i:02d}" for i in range(fakes.N)]
    assert list(table[0])[: len(columns())] == list(columns())
    stages = ("load", "everything", "confidence", "score", "attribution", "total")
    assert list(table[0])[len(columns()) :] == [f"seconds_{stage}" for stage in stages]
    promised = (
        "case_id dataset group subject volume slice method status dsc iou hd95 nsd hc_mm hc_error_mm n_pool n_kept"
    )
    choice = "selected scores boxes best_candidate_iou failure"
    assert list(table[0])[:21] == [*promised.split(), *choice.split()]


def test_parquet_and_csv_hold_the_same(finished):
    for csv_row, row in zip(rows(finished), pq.read_table(finished / "cases.parquet").to_pylist(), strict=True):
        assert float(csv_row["dsc"]) == row["dsc"]
        assert json.loads(csv_row["boxes"]) == row["boxes"]
        assert csv_row["volume"] == "" and row["volume"] is None


def test_scores_are_those_of_the_masks_on_disk(fakes, finished):
    for case, row in zip(fakes.default_cases(), rows(finished), strict=True):
        with Image.open(prediction_path(finished, case.case_id)) as picture:
            assert float(row["dsc"]) == dice(np.asarray(picture) == 255, case.mask)


def test_outlines_and_heads_are_measured_where_their_size_is_known(fakes, tmp_path):
    cases = [replace(each, facts={FACT: 20.0}) for each in fakes.default_cases()]
    cases[1] = replace(cases[1], facts={})
    cases[2] = replace(cases[2], spacing=None)
    cases[3] = replace(cases[3], mask=None)
    fakes.run_fake(tmp_path / "run", cases, score=ScoreConfig(tolerance_mm=0.5))
    for case, row in zip(cases, rows(tmp_path / "run"), strict=True):
        with Image.open(prediction_path(tmp_path / "run", case.case_id)) as picture:
            mask = np.asarray(picture) == 255
        known = case.mask is not None and case.spacing is not None
        assert row["nsd"] == (str(surface_dice(mask, case.mask, case.spacing, 0.5)) if known else "")
        measured = head_circumference(mask, case.spacing) if case.facts else None
        assert row["hc_mm"] == ("" if measured is None else str(measured))
        assert row["hc_error_mm"] == ("" if measured is None else str(measured - 20.0))
    assert summary(tmp_path / "run")["overall"]["hc_abs_error"]["n"] == 10


def test_the_summary_adds_up_by_group_and_says_what_weights_they_were(finished):
    found, table = summary(finished), rows(finished)
    for name, part in found["groups"].items():
        values = [float(row["dsc"]) for row in table if row["group"] == name]
        assert part["dsc"]["n"] == len(values) == 6
        assert part["dsc"]["mean"] == pytest.approx(np.mean(values))
        assert part["dsc"]["low"] <= part["dsc"]["mean"] <= part["dsc"]["high"]
    assert found["overall"]["dsc"]["n"] == 12
    assert found["overall"]["volumes"] is found["overall"]["volume_dsc"] is None
    embedded, between = found["notes"]
    assert embedded == "embedded weights: trained on synthetic images only"
    assert between.startswith("between groups: mean DSC of group 0 (best) less group 1 (worst) 0.00")
    assert found["gap"]["difference"] == pytest.approx(
        abs(found["groups"]["group 0"]["dsc"]["mean"] - found["groups"]["group 1"]["dsc"]["mean"])
    )


def test_the_manifest_tells_what_is_needed_to_make_it_again(fakes, finished, monkeypatch):
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["command"] == "python -m salip_exp dataset=fake"
    assert manifest["weights"] == {"sam": {"name": "tiny", "sha256": "a" * 64, "label": "tiny"}}
    assert manifest["data"]["n_found"] == 13 and manifest["data"]["n_used"] == 12
    assert manifest["data"]["excluded"] == [{"case_id": "left_out", "reason": "no mask"}]
    assert manifest["counters"]["encoder_calls"] == 12 and manifest["counters"]["clip_text_forwards"] == 1
    assert manifest["stages"]["cases"]["seconds"] > 0
    assert manifest["packages"]["numpy"] == np.__version__


@pytest.mark.fault("R10")
def test_no_variable_of_the_environment_gets_into_the_folder(fakes, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "verysecretkey")
    fakes.run_fake(tmp_path / "run")
    assert not [each for each in (tmp_path / "run").rglob("*") if each.is_file() and b"verysecret" in each.read_bytes()]


def test_two_runs_are_the_same_apart_from_seconds(fakes, finished, tmp_path):
    fakes.run_fake(tmp_path / "again")
    assert fakes.rows_without_seconds(tmp_path / "again") == fakes.rows_without_seconds(finished)
    assert (tmp_path / "again" / "summary.json").read_bytes() == (finished / "summary.json").read_bytes()


@pytest.mark.ci
@pytest.mark.fault("X1")
def test_a_killed_run_continues_to_the_same_results(fakes, finished, tmp_path, until):
    folder = tmp_path / "run"
    for cases in (3, 4):
        process = start(folder, cases, resume=folder.exists())
        until(lambda: heard(folder, 0), process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert state(folder) == "running" and not (folder / "summary.json").exists()
        folder.with_name("run.waits").unlink()
    done = {each.name: each.stat().st_mtime_ns for each in folder.glob("cases/[!.]*.json")}
    assert fakes.run_fake(folder, resume=True) == 0
    assert {name: (folder / "cases" / name).stat().st_mtime_ns for name in done} == done
    assert fakes.rows_without_seconds(folder) == fakes.rows_without_seconds(finished)
    assert (folder / "summary.json").read_bytes() == (finished / "summary.json").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["resumed"] == {"reused": 7, "redone": [], "gone": []}
    assert manifest["counters"]["encoder_calls"] == 12


@pytest.mark.ci
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.fault("X2")
def test_a_signal_ends_the_run_after_the_case_at_hand(fakes, finished, tmp_path, until, number, code):
    folder = tmp_path / "run"
    process = start(folder, cases=2)
    until(lambda: heard(folder, 0), process)
    process.send_signal(number)
    _, complaint = process.communicate()
    assert process.returncode == code
    assert "resume=true continues" in complaint and "Traceback" not in complaint
    assert state(folder) == "interrupted"
    assert len(list(folder.glob("cases/[!.]*.json"))) == 3
    assert not (folder / "summary.json").exists()
    assert fakes.run_fake(folder, resume=True) == 0
    assert fakes.rows_without_seconds(folder) == fakes.rows_without_seconds(finished)


@pytest.mark.ci
@pytest.mark.fault("X2")
def test_a_second_signal_ends_the_run_at_once(tmp_path, until):
    folder = tmp_path / "run"
    process = start(folder, cases=2, signals=3)
    for sent in (0, 1):
        until(lambda sent=sent: heard(folder, sent), process)  # the first is taken, and the case goes on
        process.send_signal(signal.SIGINT)
    process.communicate()
    assert state(folder) == "interrupted"
    assert len(list(folder.glob("cases/[!.]*.json"))) == 2


@pytest.mark.fault("D19", "R2", "S6")
def test_a_record_that_is_damaged_or_stale_is_made_again_and_noted(fakes, finished, tmp_path, caplog):
    folder = tmp_path / "run"
    fakes.run_fake(folder)
    record_path(folder, "case_03").write_text("{")
    prediction_path(folder, "case_05").unlink()
    cases = fakes.default_cases()
    cases[7] = fakes.make_case(7, "case_07", shift=1)
    method = fakes.Threshold()
    fakes.run_fake(folder, cases, method, resume=True, figures="none")
    assert method.seen == ["case_03", "case_05", "case_07"]
    redone = json.loads((folder / "manifest.json").read_text())["resumed"]["redone"]
    assert [each["case_id"] for each in redone] == method.seen
    assert "another image" in redone[2]["reason"]
    others = [i for i in range(12) if i != 7]
    old, new = fakes.rows_without_seconds(finished), fakes.rows_without_seconds(folder)
    assert [new[i] for i in others] == [old[i] for i in others]


@pytest.mark.fault("R2")
def test_other_weights_make_every_record_stale(fakes, tmp_path):
    fakes.run_fake(tmp_path / "run")
    method = fakes.Threshold()
    lab = fakes.FakeLab(fakes.default_cases(), method, "b" * 64)
    run(fakes.config(resume=True, figures="none"), tmp_path / "run", [], lab)
    assert len(method.seen) == 12


def trouble(error: Exception, *ids: str):
    def before(case) -> None:
        if case.case_id in ids:
            raise error

    return before


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CaseError("E_READ", "the file is cut short"), "failed(E_READ)"),
        (ValueError("a\nbug"), "failed(E_INTERNAL)"),
        (MemoryError(), "failed(E_OOM)"),
    ],
)
@pytest.mark.fault("R7", "X6")
def test_a_case_that_fails_touches_no_other(fakes, finished, tmp_path, caplog, error, status):
    folder = tmp_path / "run"
    method = fakes.Threshold(before=trouble(error, "case_04"))
    with caplog.at_level(logging.WARNING), pytest.raises(TooManyFailures, match="1 of 12 cases failed") as caught:
        fakes.run_fake(folder, method=method)
    assert "\n" not in str(caught.value)
    table, whole = rows(folder), fakes.rows_without_seconds(finished)
    assert table[4]["status"] == status
    assert table[4]["dsc"] == table[4]["n_pool"] == ""
    assert [row for i, row in enumerate(fakes.rows_without_seconds(folder)) if i != 4] == whole[:4] + whole[5:]
    found = summary(folder)
    assert found["groups"]["group 0"]["dsc"]["n"] == 5 and found["groups"]["group 0"]["dsc"]["missing"] == 1
    assert found["overall"]["statuses"] == {status: 1, "ok": 11}
    assert state(folder) == "finished"
    if status == "failed(E_INTERNAL)":
        assert "Traceback" in caplog.text
    assert fakes.run_fake(folder, resume=True) == 0
    assert fakes.rows_without_seconds(folder) == whole


@pytest.mark.fault("R8")
def test_as_many_failures_as_allowed_are_fine(fakes, tmp_path):
    method = fakes.Threshold(before=trouble(CaseError("E_READ", "gone"), "case_00", "case_01", "case_02"))
    assert fakes.run_fake(tmp_path / "run", method=method, max_failed=0.25) == 0


@pytest.mark.fault("R7")
def test_a_run_in_which_every_case_fails_still_has_a_summary_without_numbers(fakes, tmp_path):
    method = fakes.Threshold(before=trouble(CaseError("E_READ", "gone"), *(f"case_{i:02d}" for i in range(12))))
    with pytest.raises(TooManyFailures):
        fakes.run_fake(tmp_path / "run", method=method)
    assert summary(tmp_path / "run")["overall"]["dsc"]["mean"] is None
    assert summary(tmp_path / "run")["overall"]["dsc"]["n"] == 0


@pytest.mark.parametrize(("policy", "n", "score"), [("skip", 1, ""), ("one", 2, "1.0"), ("zero", 2, "0.0")])
@pytest.mark.fault("D5", "R7")
def test_an_empty_target_is_scored_by_policy(fakes, tmp_path, policy, n, score):
    config = fakes.config()
    config.score.empty_target = EmptyTarget(policy)
    nothing = np.zeros((fakes.SIDE, fakes.SIDE), bool)
    empty = replace(fakes.make_case(0, "empty"), mask=nothing, image=np.zeros((fakes.SIDE, fakes.SIDE, 3), np.uint8))
    cases = [empty, fakes.make_case(2, "full")]
    assert run(config, tmp_path / "run", [], fakes.FakeLab(cases, fakes.Threshold())) == 0
    first, found = rows(tmp_path / "run")[0], summary(tmp_path / "run")
    assert (first["status"], first["dsc"], first["failure"]) == ("empty_gt", score, "")
    assert found["overall"]["dsc"]["n"] == n
    assert any("1 of 2 targets are empty" in note for note in found["notes"])


def test_images_without_target_are_predicted_and_their_scores_are_missing(fakes, tmp_path):
    cases = [replace(each, mask=None) for each in fakes.default_cases()[:3]]
    assert fakes.run_fake(tmp_path / "run", cases, figures="worst:2,best:1") == 0
    assert [row["dsc"] for row in rows(tmp_path / "run")] == ["", "", ""]
    found = summary(tmp_path / "run")
    assert found["overall"]["dsc"]["mean"] is None
    assert "3 of 3 images have no target: predicted, not scored" in found["notes"]
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == 3
    assert len(read_pictures(tmp_path / "run")["figures"]) == 3


def test_slices_are_resampled_and_added_up_by_volume(fakes, tmp_path):
    cases = [fakes.make_case(2 * i, f"v{i // 4}/sagittal_{i}", f"v{i // 4}") for i in range(12)]
    assert fakes.run_fake(tmp_path / "run", cases) == 0
    part = summary(tmp_path / "run")["overall"]
    assert part["volumes"] == part["volume_dsc"]["n"] == 3
    assert part["dsc"]["interval"] == "subjects" and part["volume_dsc"]["interval"] == "cases"
    table = rows(tmp_path / "run")
    both, predicted, target = (np.array([int(row[f"pixels_{name}"]) for row in table]).reshape(3, 4).sum(1)
                               for name in ("both", "predicted", "target"))  # fmt: skip
    assert part["volume_dsc"]["mean"] == pytest.approx((2 * both / (predicted + target)).mean())


def test_a_volume_with_a_failed_slice_has_no_score_of_its_own(fakes, tmp_path):
    cases = [fakes.make_case(2 * i, f"v{i // 4}/sagittal_{i}", f"v{i // 4}") for i in range(12)]
    method = fakes.Threshold(before=trouble(CaseError("E_READ", "gone"), "v1/sagittal_5"))
    assert fakes.run_fake(tmp_path / "run", cases, method, max_failed=0.5) == 0
    assert (
        summary(tmp_path / "run")["overall"]["volume_dsc"] | {"n": 2, "missing": 1}
        == (summary(tmp_path / "run")["overall"]["volume_dsc"])
    )


@pytest.mark.fault("D18", "R10")
def test_hostile_ids_stay_inside_the_folder(fakes, tmp_path):
    ids = ["../../escape", "<script>alert(1)</script>", "a b/ü", "a b-ü", "x\udcff", 'quo"te,comma']
    assert fakes.run_fake(tmp_path / "run", [fakes.make_case(i, each) for i, each in enumerate(ids)]) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["run"]
    assert len(list((tmp_path / "run" / "cases").iterdir())) == len(ids)
    assert [row["case_id"] for row in rows(tmp_path / "run")] == [*ids[:4], "x\\udcff", ids[5]]
    assert "<script>alert" not in (tmp_path / "run" / "report.html").read_text()
    assert fakes.run_fake(tmp_path / "run", [fakes.make_case(i, each) for i, each in enumerate(ids)], resume=True) == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["resumed"]["reused"] == len(ids)


@pytest.mark.ci
@pytest.mark.fault("X5", "R4")
def test_a_second_run_in_the_same_folder_is_refused_and_told_whose_it_is(fakes, tmp_path, until):
    process = start(tmp_path / "run", cases=1)
    until(lambda: heard(tmp_path / "run", 0), process)
    with pytest.raises(EnvironmentFault, match=f"in use by process {process.pid} on") as caught:
        fakes.run_fake(tmp_path / "run", resume=True)
    assert caught.value.exit_code == 6
    process.kill()
    process.communicate()
    with claim(tmp_path / "run"):
        pass


@pytest.mark.fault("R4", "I10")
def test_where_files_cannot_be_locked_a_run_is_refused_and_leaves_no_mark(fakes, tmp_path, monkeypatch):
    """A mark in place of a lock would outlive a killed run, and refuse the next."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(EnvironmentFault, match=r"cannot be locked .Function not implemented.*outputs=DIR"):
        fakes.run_fake(tmp_path / "run")
    assert not in_use(tmp_path / "run")
    monkeypatch.undo()
    fakes.run_fake(tmp_path / "run")


@pytest.mark.fault("X5")
def test_a_folder_that_holds_a_run_is_never_written_over(fakes, finished):
    before = fakes.contents(finished)
    with pytest.raises(EnvironmentFault, match="holds a run already"):
        fakes.run_fake(finished)
    assert fakes.contents(finished) == before


@pytest.mark.fault("X7")
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_loaded(fakes, tmp_path):
    def never(config, stages):
        raise AssertionError("loaded")

    (tmp_path / "file").write_text("")
    places = [tmp_path / "file" / "run", Path("/proc/self")]
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        places.append(tmp_path / "locked")
    for place in places:
        with pytest.raises(EnvironmentFault, match="cannot be written") as caught:
            run(fakes.config(), place, [], never)
        assert "\n" not in str(caught.value)


def test_a_run_that_never_began_leaves_nothing_to_continue(fakes, tmp_path):
    class Bare(fakes.FakeLab):
        def dataset(self, config):
            raise DataError("no data here")

    with pytest.raises(DataError):
        run(fakes.config(), tmp_path / "run", [], Bare([], fakes.Threshold()))
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.fault("X3")
def test_a_full_disk_ends_the_run_and_it_continues_when_there_is_room(fakes, finished, tmp_path, monkeypatch):
    folder, writes = tmp_path / "run", []

    def full(handle: int) -> None:
        writes.append(handle)
        if len(writes) > 30:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        fakes.run_fake(folder)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    assert not list(folder.rglob("*.tmp"))
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    assert fakes.run_fake(folder, resume=True) == 0
    assert fakes.rows_without_seconds(folder) == fakes.rows_without_seconds(finished)
