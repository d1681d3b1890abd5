"""A run told to wandb offline, and read back from wandb's own file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salip_exp._commands.run import run_listeners
from salip_exp._runs.records import prediction_path
from salip_exp._tracking.events import Log
from salip_exp._tracking.runs import RunTracker
from salip_exp._tracking.wandb_tracker import WandbTracker
from salip_exp.config import TrackerConfig, TrackerMode, TrackerName
from salip_exp.errors import TooManyFailures

OFFLINE = TrackerConfig(name=TrackerName.wandb)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def tracked(fakes, tmp_path_factory, home):
    """The folder of a run told to wandb offline, whose user has a key."""
    folder = tmp_path_factory.mktemp("tracked") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("WANDB_API_KEY", "secret" * 7)
        assert fakes.run_fake(folder, tracker=OFFLINE, figures="worst:1,best:1") == 0
    return folder


def test_the_line_that_sends_it_is_printed(fakes, tmp_path, capsys):
    tracker = WandbTracker(TrackerConfig(), tmp_path)
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    tracker.end(0)
    assert "wandb sync" in capsys.readouterr().out


@pytest.fixture(scope="module")
def told(tracked, wandb_file):
    return wandb_file.read_run(tracked)


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_the_run_is_grouped_named_and_ended(tracked, told):
    assert (told.project, told.group, told.job_type, told.exit_code) == ("salip_exp", "fake", "salip", 0)
    assert told.id == (tracked / "wandb_id.txt").read_text().strip()
    assert told.tags == ["default", "sam tiny aaaaaa", "clip tiny"]


def test_its_configuration_is_the_resolved_one_with_the_manifest(tracked, told):
    manifest = json.loads((tracked / "manifest.json").read_text())
    assert told.config["sam"]["name"] == "tiny"
    assert told.config["method"] == "salip"
    assert told.config["commit"] == (manifest["commit"] and manifest["commit"]["id"])
    assert told.config["manifest"]["weights"] == manifest["weights"]


def test_its_summary_is_that_of_the_run(tracked, told):
    found, manifest = summary_of(tracked), json.loads((tracked / "manifest.json").read_text())
    for group, part in {**found["groups"], "all": found["overall"]}.items():
        assert told.summary[f"dsc/{group}"] == part["dsc"]["mean"]
        assert told.summary[f"miou/{group}"] == part["iou"]["mean"]
    assert told.summary["counters/seconds everything"] == manifest["case_seconds"]["everything"]
    assert told.summary["counters/work encoder_calls"] == 12
    assert told.summary["counters/part cases seconds"] == manifest["stages"]["cases"]["seconds"]
    assert "case/dsc" not in told.summary  # the last case says nothing about the run


def test_its_history_has_the_running_mean_of_every_case(tracked, told):
    rows = [row for row in told.history if "case/number" in row]
    assert [row["case/number"] for row in rows] == list(range(1, 13))
    scores = [row["case/dsc"] for row in rows]
    assert [row["running/dsc"] for row in rows] == pytest.approx(np.cumsum(scores) / np.arange(1, 13))
    assert rows[-1]["running/dsc"] == pytest.approx(summary_of(tracked)["overall"]["dsc"]["mean"])


def test_its_table_of_cases_is_that_of_the_run(tracked, told, wandb_file):
    rows = wandb_file.table(tracked, told.summary["cases"])
    assert sorted(row["case_id"] for row in rows) == [f"case_{i:02d}" for i in range(12)]
    told_of = {row["case_id"]: row["dsc"] for row in rows}
    assert [told_of[f"case_{i:02d}"] for i in range(12)] == [row["case/dsc"] for row in told.history]
    doubts = [row["confidence"] if row["confidence"] is not None else row["stability"] for row in rows]
    assert doubts == sorted(doubts), "the most doubtful first"


def test_its_bars_are_what_each_stage_lost(tracked, told, wandb_file):
    drawn = told.config["_wandb"]["visualize"]["lost"]["panel_config"]
    assert drawn["fieldSettings"] == {"label": "bar", "value": "DSC"}
    (name,) = (name for name in told.summary if name.startswith("lost_"))
    rows = wandb_file.table(tracked, told.summary[name])
    assert {row["bar"]: row["DSC"] for row in rows} == pytest.approx(summary_of(tracked)["overall"]["losses"])


def test_its_pictures_carry_masks_with_named_classes(tracked, told):
    shown = told.summary["pictures"]
    assert shown["count"] == 2
    case_id = shown["captions"][0].split(": ")[1].split(",")[0]
    place = next(tracked.glob(f"wandb/*/files/{shown['all_masks'][0]['prediction']['path']}"))
    with Image.open(place) as mask, Image.open(prediction_path(tracked, case_id)) as stored:
        assert (np.asarray(mask) == np.asarray(stored) // 255).all()
    names = told.config["_wandb"]["mask/class_labels"]
    assert names["pictures_wandb_delimeter_ground truth"]["value"] == {"0": "background", "1": "disc"}


def test_its_artefact_is_the_table_where_it_lies(tracked, told):
    artefact = next(each for each in told.artefacts if each.type == "cases")
    assert {each.path for each in artefact.manifest.contents} == {"cases.csv", "cases.parquet", "summary.json"}
    assert {Path(each.local_path).parent for each in artefact.manifest.contents} == {tracked}


def test_wandb_leaves_nothing_outside_of_the_run_folder_and_no_secret_in_it(tracked, home):
    assert not list(home.rglob("*"))
    for path in tracked.rglob("*"):
        assert not path.is_file() or b"secretsecret" not in path.read_bytes(), path


def test_without_a_tracker_nothing_is_made(fakes, tmp_path):
    for tracker in (TrackerConfig(), TrackerConfig(name=TrackerName.wandb, mode=TrackerMode.disabled)):
        assert not any(isinstance(each, RunTracker) for each in run_listeners(fakes.config(tracker=tracker), tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_never_began_ends_at_once(fakes, tmp_path):
    tracker = WandbTracker(OFFLINE, tmp_path)
    tracker.end(3)
    tracker.tell(iter(()))
    assert not list(tmp_path.iterdir())


def test_events_that_cannot_be_made_cost_a_warning_and_no_more(fakes, tmp_path, capsys):
    def broken():
        raise ZeroDivisionError("no such picture")
        yield

    tracker = WandbTracker(OFFLINE, tmp_path)
    tracker.tell(broken())
    tracker.tell([Log({"case/number": 1})])  # comes to nothing: there was no start
    tracker.end(0)
    assert capsys.readouterr().err == "warning: wandb is not told all (ZeroDivisionError: no such picture)\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_resumed_run_is_the_same_run_and_is_told_whole(fakes, wandb_file, tmp_path):
    folder = tmp_path / "run"

    def interrupt(case) -> None:
        if case.case_id == "case_03":
            os.kill(os.getpid(), signal.SIGINT)

    method = fakes.Threshold(before=interrupt)
    assert fakes.run_fake(folder, method=method, tracker=OFFLINE) == 130
    first = wandb_file.read_run(folder)
    assert (first.exit_code, len(first.history)) == (130, 4)
    assert fakes.run_fake(folder, resume=True, tracker=OFFLINE) == 0
    second = wandb_file.read_run(folder)
    assert second.id == first.id
    assert (second.exit_code, len([row for row in second.history if "case/number" in row])) == (0, 12)
    assert second.summary["dsc/all"] == summary_of(folder)["overall"]["dsc"]["mean"]


@pytest.mark.slow
def test_a_run_that_fails_is_marked_with_its_exit_code(fakes, wandb_file, tmp_path):
    def fail(case) -> None:
        raise RuntimeError("no such thing")

    with pytest.raises(TooManyFailures):
        fakes.run_fake(tmp_path / "run", method=fakes.Threshold(before=fail), tracker=OFFLINE)
    told = wandb_file.read_run(tmp_path / "run")
    assert told.exit_code == 5
    assert told.summary["status/failed(E_INTERNAL)"] == 12
    assert "dsc/all" not in told.summary


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_what_it_told_and_no_process(fakes, wandb_file, tmp_path, until):
    folder = tmp_path / "run"
    program = (
        f"import sys; sys.path.insert(0, {str(Path(fakes.__file__).parent)!r}); import fakes; "
        "from pathlib import Path; from salip_exp.config import *; "
        "fakes.run_fake(Path(sys.argv[1]), method=fakes.Threshold(1.0), tracker=TrackerConfig(TrackerName.wandb))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    until(lambda: any("run started" in each.read_text() for each in folder.glob("wandb/*/logs/debug.log")), process)
    until(lambda: list(folder.glob("cases/[!.]*.json")), process)
    process.kill()
    process.wait()
    until(lambda: wandb_file.read_run(folder).exit_code is not None)
    told = wandb_file.read_run(folder)
    assert told.exit_code == 1  # nobody said how it ended
    assert 1 <= len(told.history) < 12
