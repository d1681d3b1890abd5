"""A training told to wandb: every epoch, also those before it was continued, and the weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._commands import train
from salip_exp._tracking.trainings import TrainingTracker, training_results
from salip_exp._training.training import table
from salip_exp.config import TrackerConfig, TrackerName
from salip_exp.errors import EnvironmentFault

ROWS = [
    {"epoch": i, "rate": 0.1, "train_loss": 1 / i, "val_loss": 2 / i, "val_dice": 0.1 * i, "seconds": 1.0}
    for i in (1, 2, 3)
]


@pytest.fixture(scope="session")
def stubs(module_at) -> ModuleType:
    return module_at(Path(__file__).parent.parent / "training" / "stubs.py")


def test_the_start_brings_the_epochs_on_disk_and_the_others_follow(fakes, listener, tmp_path):
    (tmp_path / "curves.csv").write_text(table(ROWS[:2]))
    tracker = TrainingTracker(listener)
    tracker.began(fakes.config(), tmp_path, ["python"])
    tracker.epoch(ROWS[2])
    start, *epochs = listener.events
    assert (start.job_type, start.config["manifest"]["command"]) == ("train", "python")
    assert [each.values["epoch/number"] for each in epochs] == [1, 2, 3]
    assert epochs[2].values["epoch/val_dice"] == pytest.approx(0.3)


def test_a_training_that_is_refused_is_told_to_nobody(stubs, listener, tmp_path):
    root, folder = stubs.write_discs(tmp_path / "discs"), tmp_path / "training"
    folder.mkdir()
    (folder / "training.json").write_text('{"key": "of another"}')
    with pytest.raises(EnvironmentFault, match="other settings"):
        stubs.train(root, folder, TrainingTracker(listener))
    assert listener.events == []


def test_its_results_are_weights_and_their_score(tmp_path):
    report = {"epochs": 3, "best_epoch": 2, "val_dice": 0.9, "seconds": 4.0, "other": 1}
    (tmp_path / "training.json").write_text(json.dumps(report))
    summary, artefact = training_results(tmp_path)
    assert summary.values == {"unet/epochs": 3, "unet/best_epoch": 2, "unet/val_dice": 0.9, "unet/seconds": 4.0}
    assert [each.name for each in artefact.files] == ["unet.safetensors", "training.json", "curves.csv"]


@pytest.mark.slow
def test_a_training_and_its_scoring_are_two_runs(stubs, wandb_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    root, folder = stubs.write_discs(tmp_path / "discs"), tmp_path / "training"
    config = stubs.config(root, tracker=TrackerConfig(name=TrackerName.wandb))
    assert train.command(config, folder, stubs.COMMAND) == 0
    told = wandb_file.read_run(folder)
    assert (told.job_type, told.exit_code) == ("train", 0)
    with (folder / "curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    epochs = [row for row in told.history if "epoch/number" in row]
    assert [row["epoch/val_dice"] for row in epochs] == pytest.approx(
        [float(row["val_dice"]) for row in rows], rel=1e-4
    )
    artefact = next(each for each in told.artefacts if each.type == "unet")
    assert "unet.safetensors" in {each.path for each in artefact.manifest.contents}
    scored = wandb_file.read_run(folder / "test")
    assert (scored.job_type, scored.exit_code) == ("unet", 0)
    summary = json.loads((folder / "test" / "summary.json").read_text())
    assert scored.summary["dsc/all"] == summary["overall"]["dsc"]["mean"]
