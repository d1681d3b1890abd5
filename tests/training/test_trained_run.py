"""Runs of a U-Net: scored on held-out cases alone, with weights that are named, found, or trained now."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from salip_exp._commands import train
from salip_exp._commands.train import scoring_command
from salip_exp._runs.lab import Lab
from salip_exp._training import trained_run as module
from salip_exp._training.trained_run import trained_run, using
from salip_exp._training.training import TrainingListener
from salip_exp.config import DatasetConfig, Task
from salip_exp.errors import ConfigError, WeightsError
from salip_exp.networks.unet import load_unet

RUN = ["python", "-m", "salip_exp", "method=unet", "dataset=discs"]


def config(stubs, root: Path, outputs: Path, **changes):
    return stubs.config(root, task=Task.run, outputs=str(outputs), **changes)


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


class Epochs(TrainingListener):
    """Hears of every epoch that a run trains first, and may send a signal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = 0) -> None:
        self.heard: list[float] = []
        self.number = number
        real = module.train_in
        monkeypatch.setattr(module, "train_in", lambda *given: real(*given, [self]))

    def epoch(self, row) -> None:
        self.heard.append(row["epoch"])
        if self.number:
            os.kill(os.getpid(), self.number)


def scored(folder: Path) -> set[str]:
    return {each.stem for each in (folder / "cases").glob("*.json")}


def test_only_the_test_part_is_scored_and_the_others_say_why(trained, stubs, discs, tmp_path) -> None:
    chosen = using(config(stubs, discs, tmp_path), trained / "unet.safetensors")
    assert trained_run(chosen, tmp_path / "run", RUN, Lab()) == 0
    split = json.loads((trained / "split.json").read_text())
    assert scored(tmp_path / "run") == set(split["test"]["cases"])
    excluded = {each["case_id"]: each["reason"] for each in manifest(tmp_path / "run")["data"]["excluded"]}
    assert excluded == dict.fromkeys(split["train"]["cases"] + split["val"]["cases"], "used for training")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["overall"]["cases"] == split["test"]["n"]
    assert any(note.startswith("supervised: trained on discs") for note in summary["notes"])


def test_the_record_names_the_weights_by_their_hash(trained, stubs, discs, tmp_path) -> None:
    file = trained / "unet.safetensors"
    trained_run(using(config(stubs, discs, tmp_path), file), tmp_path / "run", RUN, Lab())
    assert manifest(tmp_path / "run")["weights"] == {
        "unet": {"name": "discs", "sha256": load_unet(str(file), "cpu").sha256, "label": "discs"}
    }
    assert manifest(tmp_path / "run")["counters"]["unet_forwards"] == len(scored(tmp_path / "run"))


def test_another_data_set_is_scored_whole(trained, stubs, discs, tmp_path) -> None:
    data = DatasetConfig(name="others", layout="hc18", root=str(discs), group="Ultrasound", roi="disc")
    chosen = using(config(stubs, discs, tmp_path, dataset=data), trained / "unet.safetensors")
    assert trained_run(chosen, tmp_path / "run", RUN, Lab()) == 0
    assert len(scored(tmp_path / "run")) == 16


def test_another_image_of_a_fetus_that_was_trained_on_is_left_out_too(stubs, discs, tmp_path) -> None:
    everything = config(stubs, discs, tmp_path)
    first = replace(everything, dataset=replace(everything.dataset, limit=9))
    assert trained_run(first, tmp_path / "first", RUN, Lab(), train=True) == 0
    file = next(tmp_path.glob("discs/train/*/unet.safetensors"))
    seen = set(load_unet(str(file), "cpu").trained.subjects)
    assert trained_run(using(everything, file), tmp_path / "all", RUN, Lab()) == 0
    assert scored(tmp_path / "first") < scored(tmp_path / "all")
    assert not {name[:3] for name in scored(tmp_path / "all")} & seen


def test_a_list_of_training_ids_is_refused(trained, stubs, discs, tmp_path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(json.loads((trained / "split.json").read_text())["train"]["cases"]))
    chosen = config(stubs, discs, tmp_path)
    chosen = replace(chosen, dataset=replace(chosen.dataset, subset=str(ids)))
    with pytest.raises(ConfigError, match="images that the U-Net was trained on"):
        trained_run(using(chosen, trained / "unet.safetensors"), tmp_path / "run", RUN, Lab())


def test_without_weights_it_says_how_to_train(stubs, discs, tmp_path) -> None:
    with pytest.raises(WeightsError) as error:
        trained_run(config(stubs, discs, tmp_path), tmp_path / "run", RUN, Lab())
    assert error.value.exit_code == 4
    assert "python -m salip_exp task=train method=unet dataset=discs" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_trained_once_and_found_by_content_then(
    trained, stubs, discs, tmp_path, monkeypatch
) -> None:
    chosen, epochs = config(stubs, discs, tmp_path), Epochs(monkeypatch)
    for name in ("one", "two"):
        assert trained_run(chosen, tmp_path / "cells" / name, RUN, Lab(), train=True) == 0
    assert epochs.heard == [1, 2, 3]
    assert trained_run(chosen, tmp_path / "cells" / "three", RUN, Lab()) == 0
    tables = [(tmp_path / "cells" / name / "predictions") for name in ("one", "two", "three")]
    pictures = [{each.name: each.read_bytes() for each in folder.iterdir()} for folder in tables]
    assert pictures[0] == pictures[1] == pictures[2] != {}
    file = next(tmp_path.glob("discs/train/*/unet.safetensors"))
    assert file.read_bytes() == (trained / "unet.safetensors").read_bytes()


def test_weights_of_other_settings_are_not_taken(stubs, discs, tmp_path) -> None:
    trained_run(config(stubs, discs, tmp_path), tmp_path / "run", RUN, Lab(), train=True)
    with pytest.raises(WeightsError, match="none of these settings and data"):
        trained_run(config(stubs, discs, tmp_path, epochs=4), tmp_path / "other", RUN, Lab())


def test_a_signal_in_training_ends_the_run_before_it_begins(stubs, discs, tmp_path, monkeypatch) -> None:
    chosen = config(stubs, discs, tmp_path)
    with monkeypatch.context() as patch:
        Epochs(patch, signal.SIGTERM)
        assert trained_run(chosen, tmp_path / "run", RUN, Lab(), train=True) == 143
    assert not (tmp_path / "run").exists()
    epochs = Epochs(monkeypatch)
    assert trained_run(chosen, tmp_path / "run", RUN, Lab(), train=True) == 0
    assert epochs.heard == [2, 3]


def test_one_command_trains_and_scores(stubs, discs, tmp_path, capsys) -> None:
    folder, command = tmp_path / "run", [*stubs.COMMAND, "outputs=x"]
    assert train.command(stubs.config(discs), folder, command) == 0
    split = json.loads((folder / "split.json").read_text())
    assert scored(folder / "test") == set(split["test"]["cases"])
    said = capsys.readouterr().out
    assert f"unet.weights={folder / 'unet.safetensors'}" in said.replace("\n", "")
    assert manifest(folder / "test")["command"].startswith("python -m salip_exp method=unet dataset=discs")
    summary = (folder / "test" / "summary.json").stat().st_mtime_ns
    assert train.command(stubs.config(discs), folder, command) == 0
    assert (folder / "test" / "summary.json").stat().st_mtime_ns == summary


def test_commands_lead_from_one_task_to_the_other() -> None:
    command = ["python", "-m", "salip_exp", "task=train", "method=unet", "dataset=hc18", "hydra.run.dir=x"]
    scoring = scoring_command(command, Path("w.safetensors"))
    assert scoring == ["python", "-m", "salip_exp", "method=unet", "dataset=hc18", "unet.weights=w.safetensors"]
    assert module._training_command(scoring) == "python -m salip_exp task=train method=unet dataset=hc18"
    assert module._training_command(["salip-exp", "resume=true"]) == "salip-exp task=train"
