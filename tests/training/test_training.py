"""A training's folder explains itself, holds one training, and is continued by the same command."""

from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace

import pytest
from PIL import Image

from salip_exp._runs.lab import Lab
from salip_exp._training.data import PARTS, read_training_data
from salip_exp._training.training import found_in
from salip_exp.errors import EnvironmentFault, TooManyFailures
from salip_exp.networks.weights import sha256_of


def report_of(folder) -> dict:
    return json.loads((folder / "training.json").read_text())


def test_it_leaves_weights_split_curves_and_a_report(trained) -> None:
    names = {each.name for each in trained.iterdir()}
    assert names == {
        "identity.json",
        "unet.safetensors",
        "split.json",
        "curves.csv",
        "curves.png",
        "training.json",
        "checkpoint.pt",
    }
    with (trained / "curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == ["epoch", "rate", "train_loss", "val_loss", "val_dice", "seconds"]
    with Image.open(trained / "curves.png") as picture:
        assert picture.size[0] > 800


def test_the_report_tells_data_settings_and_result(trained, stubs, discs) -> None:
    report, split = report_of(trained), json.loads((trained / "split.json").read_text())
    assert report["n"] == {name: split[name]["n"] for name in PARTS}
    assert sum(report["n"].values()) == 16
    assert sum(report["n_subjects"].values()) == stubs.FETUSES
    assert report["weights_sha256"] == sha256_of(trained / "unet.safetensors")
    assert (report["seed"], report["epochs"], report["settings"]["side"]) == (1234, 3, 16)
    assert report["packages"]["monai"] and report["packages"]["torch"]
    assert report["command"].startswith("python -m salip_exp task=train")
    assert report["data_sha256"] == read_training_data(stubs.config(discs), Lab()).examples.sha256
    assert 0 < report["val_dice"] <= 1 and report["seconds"] > 0


def test_a_complete_training_is_left_as_it_is(trained, stubs, discs) -> None:
    before = {each.name: each.stat().st_mtime_ns for each in trained.iterdir()}
    assert stubs.train(discs, trained, stubs.Epochs(lambda row: pytest.fail("trained again"))) == 0
    assert {each.name: each.stat().st_mtime_ns for each in trained.iterdir()} == before


def test_weights_are_found_by_their_key_and_only_whole(trained, stubs, discs, tmp_path) -> None:
    key = read_training_data(stubs.config(discs), Lab()).key
    assert found_in(trained, key) == trained / "unet.safetensors"
    assert found_in(trained, "0" * 64) is None
    assert found_in(tmp_path, key) is None
    (tmp_path / "training.json").write_text((trained / "training.json").read_text())
    (tmp_path / "unet.safetensors").write_bytes((trained / "unet.safetensors").read_bytes()[:-1])
    assert found_in(tmp_path, key) is None


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 4}, {"rate": 0.02}, {"test": 0.3}])
def test_another_training_does_not_overwrite_it(trained, stubs, discs, change) -> None:
    with pytest.raises(EnvironmentFault, match="other settings or data: delete it, or train elsewhere"):
        stubs.train(discs, trained, **change)
    assert found_in(trained, read_training_data(stubs.config(discs), Lab()).key) is not None


def test_the_key_depends_on_data_and_settings_and_not_on_where_things_are(stubs, discs, tmp_path) -> None:
    key = read_training_data(stubs.config(discs), Lab()).key
    other = stubs.write_discs(tmp_path / "more", 13)
    assert read_training_data(stubs.config(stubs.write_discs(tmp_path / "same"), outputs="elsewhere"), Lab()).key == key
    assert read_training_data(stubs.config(discs, weights="x.safetensors"), Lab()).key == key
    others = stubs.config(other), stubs.config(discs, channels=[4, 16])
    assert len({key, *(read_training_data(each, Lab()).key for each in others)}) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_after_the_epoch_and_the_same_call_continues(
    trained, stubs, discs, tmp_path, capsys, number, code
) -> None:
    assert stubs.train(discs, tmp_path, stubs.Epochs(lambda row: os.kill(os.getpid(), number))) == code
    assert "stopped after 1 of at most 3 epochs" in capsys.readouterr().err
    assert not (tmp_path / "training.json").exists()
    heard = []
    assert stubs.train(discs, tmp_path, stubs.Epochs(lambda row: heard.append(row["epoch"]))) == 0
    assert heard == [2, 3]
    assert (tmp_path / "unet.safetensors").read_bytes() == (trained / "unet.safetensors").read_bytes()
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 4


def test_images_that_cannot_be_read_are_listed_where_some_may_fail(stubs, tmp_path) -> None:
    root = stubs.write_discs(tmp_path / "data")
    (root / "training_set" / "004_HC.png").write_bytes(b"no picture")
    with pytest.raises(TooManyFailures, match="1 of 16 images cannot be read for training"):
        stubs.train(root, tmp_path / "strict")
    assert stubs.train(root, tmp_path / "lenient", max_failed=0.1, epochs=1) == 0
    excluded = json.loads((tmp_path / "lenient" / "split.json").read_text())["excluded"]
    assert [each["case_id"] for each in excluded] == ["004_HC"]


def test_one_side_of_a_pair_is_never_mirrored(stubs, discs, tmp_path, monkeypatch) -> None:
    from salip_exp._training import fit

    asked = []
    real = fit.augmentation
    monkeypatch.setattr(fit, "augmentation", lambda side, flip: asked.append(flip) or real(side, flip))
    for side in ("both", "right", "left"):
        data = replace(stubs.config(discs).dataset, side=type(stubs.config(discs).dataset.side)(side), k=1)
        stubs.train(discs, tmp_path / side, epochs=1, dataset=data)
    assert asked == [True, False, False]
