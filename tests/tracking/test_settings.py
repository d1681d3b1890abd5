"""Keys of the tracker: they change no number, so neither a run's name nor whether it can be continued."""

from __future__ import annotations

import pytest

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


def test_more_pictures_than_wandb_shows_under_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"tracker\.images=109 is out of range"):
        typed(compose(["tracker=wandb", "tracker.images=109"]))
