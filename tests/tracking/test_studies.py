"""A tuning study told to wandb: every trial, the table of trials, the winner and its file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._runs.listener import heard_to_the_end
from salip_exp._tracking.events import Log
from salip_exp._tracking.studies import StudyTracker, _trial, trials
from salip_exp._tracking.wandb_tracker import WandbTracker
from salip_exp._tuning.trials import Best
from salip_exp._tuning.tune import study_in
from salip_exp.config import TrackerConfig, TrackerName

TRIALS = 6


@pytest.fixture(scope="session")
def stubs(module_at) -> ModuleType:
    return module_at(Path(__file__).parent.parent / "tuning" / "stubs.py")


@pytest.fixture(scope="module")
def folder(stubs, blob_sam, random_clip, tmp_path_factory):
    """A study told to wandb offline."""
    place = tmp_path_factory.mktemp("studies") / "study"
    config = stubs.config(n_trials=TRIALS)
    config.tracker = TrackerConfig(name=TrackerName.wandb, study="space")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(place.parent))
        trackers = [StudyTracker(WandbTracker(config.tracker, place))]
        lab = stubs.StubLab(blob_sam, random_clip)
        assert heard_to_the_end(trackers, lambda: study_in(config, place, lab, trackers).code) == 0
    return place


@pytest.mark.slow
def test_a_study_is_a_run_with_a_step_for_every_trial(folder, wandb_file):
    told = wandb_file.read_run(folder)
    assert (told.group, told.job_type, told.exit_code) == ("stub/space", "tune", 0)
    with (folder / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    values = {int(row["trial"]): float(row["value"]) for row in rows if row["value"]}
    logged = {row["tuning/number"]: row.get("tuning/value") for row in told.history if "tuning/number" in row}
    assert len(logged) == TRIALS
    assert {number: value for number, value in logged.items() if value is not None} == pytest.approx(values)
    report = json.loads((folder / "study.json").read_text())
    assert told.summary["tuned/trial"] == report["best"]["trial"]
    assert told.summary["tuned/value"] == report["best"]["value"]
    assert told.summary["tuned/dsc winner held_out"] == report["winner"]["held_out"]["mean"]
    table = wandb_file.table(folder, told.summary["trials"])
    assert [row["trial"] for row in table] == list(range(TRIALS))
    assert [row["area.threshold"] for row in table] == [float(row["area.threshold"]) for row in rows]
    artefact = next(each for each in told.artefacts if each.type == "tuned")
    assert {each.path for each in artefact.manifest.contents} == {"tuned.yaml", "trials.csv", "study.json"}


@pytest.mark.slow
def test_a_finished_study_tells_the_same_from_its_folder(folder, wandb_file):
    logged = [row["tuning/number"] for row in wandb_file.read_run(folder).history if "tuning/number" in row]
    again = [event.values["tuning/number"] for event in trials(folder) if isinstance(event, Log)]
    assert sorted(logged) == again == list(range(TRIALS))


def test_the_best_is_never_that_of_a_trial_without_a_value():
    best = Best()
    assert _trial(best, 0, None).values == {"tuning/number": 0}
    assert _trial(best, 1, -0.5).values["tuning/best"] == -0.5
    assert _trial(best, 2, -0.7).values["tuning/best"] == -0.5
