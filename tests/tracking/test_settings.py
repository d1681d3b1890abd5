"""Keys of the tracker: they change no number, so neither a run's name nor whether it can be continued."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from salip_exp._settings import validate
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import label
from salip_exp._settings.validate import typed
from salip_exp.config import TrackerMode, TrackerName
from salip_exp.errors import ConfigError


def test_a_run_is_called_the_same_with_and_without_a_tracker():
    assert label(["tracker=wandb", "tracker.mode=online", "+ablation=no_filter"]) == label(["+ablation=no_filter"])


def test_wandb_stays_offline_unless_told_otherwise():
    tracker = typed(compose(["tracker=wandb"])).tracker
    assert (tracker.name, tracker.mode) == (TrackerName.wandb, TrackerMode.offline)
    assert typed(compose([])).tracker.name is TrackerName.none


def test_going_online_without_a_tracker_is_refused():
    with pytest.raises(ConfigError, match="add tracker=wandb"):
        typed(compose(["tracker.mode=online"]))


def test_a_workspace_wants_a_server_and_its_package(monkeypatch):
    with pytest.raises(ConfigError, match="kept by wandb's server: add tracker=wandb"):
        typed(compose(["tracker=wandb", "tracker.workspace=true"]))
    monkeypatch.setattr(validate, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'salip_exp\[workspaces\]'"):
        typed(compose(["tracker=wandb", "tracker.mode=online", "tracker.workspace=true"]))


def test_more_pictures_than_wandb_shows_under_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"tracker\.images=109 is out of range"):
        typed(compose(["tracker=wandb", "tracker.images=109"]))


def test_the_sweep_for_wandb_types_what_this_program_takes():
    sweep = yaml.safe_load((Path(__file__).parents[2] / "experiments" / "wandb_sweep.yaml").read_text())
    given = [f"{key}={each['max']}" for key, each in sweep["parameters"].items()]
    fixed = [each for each in sweep["command"] if "=" in each]
    config = typed(compose([*fixed, *given]))
    assert (config.sam.pred_iou_thresh, config.area.threshold, config.tracker.mode) == (0.95, 0.9, TrackerMode.online)
    assert sweep["command"][:4] == ["${env}", "python", "-m", "salip_exp"] and sweep["metric"]["name"] == "dsc/all"
