"""`task=run`: the configured method over the configured data set, into a run folder, or one a seed or an organ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from salip_exp._commands._jobs import print_differing
from salip_exp._console import shown, wide_console
from salip_exp._crew import assisted, run_shared
from salip_exp._execute import execute
from salip_exp._organs import of_labels, write_organs
from salip_exp._reports.listeners import CaseProgress, Pictures, RunPage, RunTable, left_out_of, next_command, show
from salip_exp._reports.several_tables import organ_table, spread_table
from salip_exp._runs.folder import read_json
from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Listener
from salip_exp._seeds import of_seeds, write_spread
from salip_exp._settings.folders import File
from salip_exp._several import Summaries, run_several
from salip_exp._wording import mean
from salip_exp.config import Config, ExecutorName

if TYPE_CHECKING:
    from salip_exp._tuning.tune import StudyListener


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Run in the folder; returns 0, or the code of the signal that ended it, and raises what `execute` raises."""
    several = _with_seeds if config.seeds else _of_organs if config.dataset.files.labels is not None else None
    if several is not None:
        code = 0 if config.executor.name is ExecutorName.serial else assisted(config, folder, typed)
        return code if code or config.executor.detach else several(config, folder, typed)
    if config.executor.name is not ExecutorName.serial:
        return _by_workers(config, folder, typed)
    return execute(config, folder, typed, Lab(), [*run_listeners(config, folder), RunTable()], study_pages)


def _by_workers(config: Config, folder: Path, typed: Sequence[str]) -> int:
    code = run_shared(config, folder, typed)
    if code == 0 and not config.executor.detach:
        show(folder, config.outputs, typed)
    return code


def _with_seeds(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Run with each seed, a line for each, and show the spread."""
    last = dict[str, Any]()

    def done(seed: str, place: Path) -> None:
        last.update(read_json(place / File.summary) or {})
        wide_console().print(Text(f"seed {seed:<7} DSC {mean(last['overall']['dsc'], 'counted spread')}"))

    def over_all(found: Summaries) -> None:
        write_spread(folder, found)
        spreads = read_json(folder / File.spread) or {}
        _show(folder, spread_table(spreads, last), spreads)

    return run_several(of_seeds(config), folder, typed, run_listeners, study_pages, done, over_all)


def _of_organs(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Run on each organ, a line for each and what it left out, and show one table of them."""
    console = wide_console()

    def done(organ: str, place: Path) -> None:
        summary = read_json(place / File.summary) or {}
        console.print(Text(f"{organ:<11} DSC {mean(summary['overall']['dsc'], 'counted spread')}"))
        for each in left_out_of(place):
            console.print(Text(f"  {each}", style="dim"))

    def over_all(summaries: Summaries) -> None:
        write_organs(folder, config, summaries)
        found = read_json(folder / File.organs) or {}
        _show(folder, organ_table(found), found)
        console.print(Text("next        " + next_command(typed, config.outputs), style="bold"))

    return run_several(of_labels(config), folder, typed, run_listeners, study_pages, done, over_all)


def _show(folder: Path, table: Any, found: Mapping[str, Any]) -> None:
    console = wide_console()
    print_differing(found["differing"])
    console.print(table)
    for note in found["notes"]:
        console.print(Text(f"  {note}", style="dim"))
    console.print(Text(f"folder      {shown(folder)}"))


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
    from salip_exp._reports.study_page import StudyPage  # which other runs need not wait for

    return [StudyPage()]
