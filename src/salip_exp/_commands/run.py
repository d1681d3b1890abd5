"""`task=run`: the configured method over the configured data set, into a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from salip_exp._execute import execute
from salip_exp._reports.listeners import CaseProgress, Pictures, RunPage, RunTable
from salip_exp.config import Config
from salip_exp.runs.lab import Lab
from salip_exp.runs.listener import Listener

if TYPE_CHECKING:
    from salip_exp._tuning.tune import StudyListener


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Run in the folder; returns 0, or the code of the signal that ended it, and raises what `execute` raises."""
    return execute(config, folder, typed, Lab(), [*run_listeners(config, folder), RunTable()], study_pages)


def run_listeners(config: Config, folder: Path) -> list[Listener]:
    """Who hears of every run, in this order: pictures are drawn before a tracker and the page show them."""
    listeners: list[Listener] = [CaseProgress(), Pictures()]
    if config.tracker.used:
        from salip_exp._tracking.runs import RunTracker  # and all that it can show, which other runs need not load
        from salip_exp._tracking.wandb_tracker import WandbTracker

        listeners.append(RunTracker(WandbTracker(config.tracker, folder)))
    return [*listeners, RunPage()]


def study_pages(config: Config) -> list[StudyListener]:
    """Who hears of a study that a run makes first; its tracker is told of it by the run."""
    from salip_exp._reports.study_page import StudyPage  # Plotly, which other runs need not wait for

    return [StudyPage()]
