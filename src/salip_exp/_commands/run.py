"""`task=run`: the configured method over the configured data set, into a run folder; or into one a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from salip_exp._console import shown, wide_console
from salip_exp._execute import execute
from salip_exp._reports.listeners import CaseProgress, Pictures, RunPage, RunTable
from salip_exp._reports.spread_table import spread_table
from salip_exp._seeds import run_seeds
from salip_exp._settings.folders import File
from salip_exp._wording import mean
from salip_exp.config import Config
from salip_exp.runs.folder import read_json
from salip_exp.runs.lab import Lab
from salip_exp.runs.listener import Listener

if TYPE_CHECKING:
    from salip_exp._tuning.tune import StudyListener


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Run in the folder; returns 0, or the code of the signal that ended it, and raises what `execute` raises."""
    if config.seeds:
        return _with_seeds(config, folder, typed)
    return execute(config, folder, typed, Lab(), [*run_listeners(config, folder), RunTable()], study_pages)


def _with_seeds(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Run with each seed, a line for each, and show the spread."""
    console, last = wide_console(), dict[str, Any]()

    def done(seed: int, summary: Mapping[str, Any]) -> None:
        last.update(summary)
        console.print(Text(f"seed {seed:<7} DSC {mean(summary['overall']['dsc'], 'counted spread')}"))

    code = run_seeds(config, folder, typed, run_listeners, study_pages, done)
    spreads = None if code else read_json(folder / File.spread)
    if spreads is not None:
        console.print(spread_table(spreads, last))
        for note in spreads["notes"]:
            console.print(Text(f"  {note}", style="dim"))
        console.print(Text(f"folder      {shown(folder)}"))
    return code


def run_listeners(config: Config, folder: Path) -> list[Listener]:
    """Who hears of every run, in this order: pictures are drawn before a tracker and the page show them."""
    listeners: list[Listener] = [*([CaseProgress()] if config.shard is None else []), Pictures()]
    if config.tracker.used:
        from salip_exp._tracking.runs import RunTracker  # and all that it can show, which other runs need not load
        from salip_exp._tracking.wandb_tracker import WandbTracker

        listeners.append(RunTracker(WandbTracker(config.tracker, folder)))
    return [*listeners, RunPage()]


def study_pages(config: Config) -> list[StudyListener]:
    """Who hears of a study that a run makes first; its tracker is told of it by the run."""
    from salip_exp._reports.study_page import StudyPage  # Plotly, which other runs need not wait for

    return [StudyPage()]
