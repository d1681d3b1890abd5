"""What a command says about a U-Net before anything is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from salip_exp import cli
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import run_name
from salip_exp._settings.validate import typed
from salip_exp.config import Task, UnetConfig
from salip_exp.errors import ConfigError


def config(*overrides: str):
    return typed(compose(overrides))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["task=train"], "task=train and method=salip exclude each other: only method=unet is trained"),
        (["task=train", "method=unet", "unet.weights=x"], "unet.weights=x is for runs"),
        (["method=unet", "unet.channels=[16]"], "is no U-Net: give two levels or more"),
        (["method=unet", "unet.channels=[16,32,64]", "unet.side=126"], "cannot be halved 2 times.*multiple of 4"),
        (["method=unet", "unet.channels=[4,4,4,4,4,4]", "unet.side=32"], "multiple of 32, 64 or more"),
        (["method=unet", "unet.val=0.5", "unet.test=0.5"], "leave nothing to learn from"),
        (["method=unet", "unet.rate=0"], "unet.rate=0.* is out of range"),
        (["method=unet", "unet.channels=[0,16]"], "unet.channels=0 is out of range"),
        (["method=unet", "tuning=random"], "method=unet has none of the settings that are searched"),
    ],
)
def test_what_cannot_be_is_one_sentence(overrides, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config(*overrides)


def test_settings_of_tuning_are_not_for_it(tmp_path: Path) -> None:
    file = tmp_path / "tuned.yaml"
    file.write_text("version: 1\ntuned_on: {dataset: x, images: []}\n")
    with pytest.raises(ConfigError, match="has settings of SAM, and method=unet has no SAM"):
        config("method=unet", f"tuned={file}")


def test_other_methods_do_not_ask_how_it_is_trained() -> None:
    assert config("unet.channels=[16]").unet.channels == [16]


def test_the_default_recipe_is_the_schema_and_the_quick_one_is_less_work() -> None:
    assert config().unet == UnetConfig()
    quick = config("unet=quick").unet
    assert quick.side < UnetConfig().side and len(quick.channels) < len(UnetConfig().channels)


def test_a_training_has_one_folder_for_good() -> None:
    overrides = ["task=train", "method=unet", "dataset=hc18", "dataset.root=/x", "unet=quick", "outputs=o"]
    assert run_name("o", "hc18", Task.train, overrides, False) == "hc18/train/unet+unet-quick"


@pytest.mark.ci
def test_the_command_line_leads_to_the_u_net(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    for task, where in (("train", "train/"), ("run", "")):
        monkeypatch.setattr(sys, "argv", ["salip-exp", f"task={task}", "method=unet", "dataset=phantom_hc18"])
        assert cli.command() == 6
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "pip install 'salip_exp[unet]'" in said
        assert list((tmp_path / "outputs" / "phantom_hc18").glob(f"{where}*"))
