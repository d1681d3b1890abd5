"""What goes wrong in a study is one sentence with the right exit code, and what was done is kept."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from salip_exp._commands.tune import command
from salip_exp._reports.study_page import StudyPage
from salip_exp._tuning.database import Database, studies_in
from salip_exp._tuning.tune import study_in
from salip_exp._tuning.worker import Workbench
from salip_exp.cache.store import MemoryStore
from salip_exp.config import AreaSpace, Objective, RealSpace, ScoreAt, ScoreConfig, SpaceConfig, WholeSpace
from salip_exp.errors import CaseError, ConfigError, EnvironmentFault, TooManyFailures


@pytest.fixture
def lab(stubs, blob_sam, random_clip):
    return stubs.StubLab(blob_sam, random_clip, store=MemoryStore(2**28))


def failing(monkeypatch: pytest.MonkeyPatch, when) -> None:
    real = Workbench.outcome

    def outcome(self, config, cases, *names):
        if when(config):
            raise CaseError("E_SCORE", "a score is not finite")
        return real(self, config, cases, *names)

    monkeypatch.setattr(Workbench, "outcome", outcome)


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


@pytest.mark.fault("S4")
def test_when_all_trials_fail_their_reasons_are_counted(stubs, lab, tmp_path, monkeypatch) -> None:
    failing(monkeypatch, lambda config: True)
    with pytest.raises(
        TooManyFailures, match=r"no trial has a value .* all 4 failed: 4 x E_SCORE: a score is"
    ) as error:
        study_in(stubs.config(n_trials=4), tmp_path, lab)
    assert error.value.exit_code == 5
    assert [(each["state"], each["reason"]) for each in rows(tmp_path)] == [
        ("failed", "E_SCORE: a score is not finite")
    ] * 4


def test_trials_that_fail_are_noted_with_their_reason_and_the_others_count(stubs, lab, tmp_path, monkeypatch) -> None:
    failing(monkeypatch, lambda config: config.sam.points_per_side == 2)
    result = study_in(stubs.config(n_trials=8), tmp_path, lab)
    table = rows(tmp_path)
    failed = [each for each in table if each["sam.points_per_side"] == "2"]
    assert 0 < len(failed) < 8
    assert all(each["reason"] and not each["value"] for each in failed)
    assert result.report["trials"] == {"total": 8, "failed": len(failed)}
    assert any("trials failed" in note for note in result.report["notes"])


def test_a_search_says_that_it_scores_at_working_size(stubs, lab, tmp_path) -> None:
    native = replace(stubs.config(n_trials=1), score=ScoreConfig(at=ScoreAt.native, resamples=100))
    assert any("scores at working size" in note for note in study_in(native, tmp_path, lab).report["notes"])


def test_a_setting_that_leaves_no_candidate_counts_as_zero_and_is_told(stubs, lab, tmp_path) -> None:
    space = SpaceConfig(
        points_per_side=WholeSpace(choices=[4]),
        pred_iou_thresh=RealSpace(choices=[0.1, 1.0]),
        stability_score_thresh=RealSpace(),
        box_nms_thresh=RealSpace(),
        area=AreaSpace(pools=False),
    )
    result = study_in(stubs.config(n_trials=6, space=space), tmp_path, lab)
    empty = [each for each in rows(tmp_path) if each["sam.pred_iou_thresh"] == "1.0"]
    assert empty
    assert all((each["value"], each["statuses"]) == ("0.0", "no_masks:5") for each in empty)
    assert f"{len(empty)} of 6 settings leave no candidate" in " ".join(result.report["notes"])


@pytest.mark.fault("S3")
def test_a_locked_database_is_waited_for_and_then_named(stubs, lab, tmp_path) -> None:
    config = stubs.config(n_trials=3, lock_wait_s=0.5)
    study_in(config, tmp_path, lab)
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(EnvironmentFault) as error:
            study_in(stubs.config(n_trials=5, lock_wait_s=0.5), tmp_path, lab)
    assert str(path) in str(error.value)
    assert "tuning.lock_wait_s=0.5" in str(error.value)
    assert study_in(stubs.config(n_trials=5), tmp_path, lab).report["trials"]["total"] == 5


@pytest.mark.fault("S2")
def test_a_file_that_is_no_database_is_named(stubs, lab, tmp_path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(EnvironmentFault, match=r"study\.db cannot be used \(file is not a database\)"):
        study_in(stubs.config(n_trials=3), tmp_path, lab)


@pytest.mark.parametrize("url", ["nonsense", "strange://host/db", "postgresql+nodriver://u:secret@host/db"])
def test_a_storage_that_cannot_be_is_a_wrong_configuration(stubs, url: str) -> None:
    with pytest.raises(ConfigError, match=r"tuning.storage=.* cannot be used") as error:
        Database(url, "study", stubs.config().tuning)
    assert "secret" not in str(error.value)
    with pytest.raises(ConfigError) as sooner:
        studies_in(url, 1.0)
    assert str(sooner.value) == str(error.value)


@pytest.mark.fault("S2")
def test_a_storage_that_is_no_database_is_refused_before_phantoms_are_drawn(stubs, tmp_path, monkeypatch) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    config = stubs.config(storage=f"sqlite:///{tmp_path / 'study.db'}")
    monkeypatch.setattr("salip_exp._runs.lab.open_dataset", lambda *_: pytest.fail("phantoms are drawn"))
    with pytest.raises(EnvironmentFault, match=r"study\.db cannot be used \(file is not a database\)"):
        command(config, tmp_path / "folder", [])
    assert studies_in(f"sqlite:///{tmp_path / 'other.db'}", 1.0) == []


def test_objectives_without_labels_tune_without_targets(stubs, blob_sam, random_clip, tmp_path) -> None:
    from dataclasses import replace

    unlabelled = [replace(each, mask=None) for each in stubs.cases()]
    lab = stubs.StubLab(blob_sam, random_clip, unlabelled, MemoryStore(2**28))
    result = study_in(stubs.config(n_trials=4, objective=Objective.agreement, draws=2), tmp_path, lab)
    report = json.loads((tmp_path / "study.json").read_text())
    assert report == result.report
    assert report["best"]["value"] is not None
    assert report["winner"]["held_out"]["mean"] is None


@pytest.mark.ci
def test_a_complete_study_leaves_all_its_files(stubs, lab, tmp_path) -> None:
    result = study_in(stubs.config(n_trials=12, draws=3, held_out=None), tmp_path, lab, [StudyPage()])
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names >= {"study.db", "images.txt", "trials.csv", "tuned.yaml", "study.json", "study.html", "config.yaml"}
    page = (tmp_path / "study.html").read_text()
    assert all(f"<h3>{each}</h3>" in page for each in ("How it went", *result.report["space"]))
    assert (tmp_path / "images.txt").read_text().splitlines() == list(result.images)
    report = result.report
    assert report["winner"]["held_out"]["n"] == 4
    assert len(report["draws"]) == report["spread"]["n"] == 3
    assert set(report["importances"]) == set(report["space"])
    assert all(each["held_out"]["n"] <= 4 for each in report["draws"])
    assert report["dashboard"] == f"optuna-dashboard sqlite:///{tmp_path / 'study.db'}"
    assert report["objectives"]["dsc"]["trial"] == report["best"]["trial"]
