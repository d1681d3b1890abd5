"""`task=tune`: a study in its folder, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salip_exp._crew import part_made, started
from salip_exp._engines.base import Crew
from salip_exp._reports.listeners import tell_left_out
from salip_exp._reports.study_page import StudyPage, StudyTable
from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import heard_to_the_end
from salip_exp._tracking.studies import StudyTracker
from salip_exp._tracking.wandb_tracker import WandbTracker
from salip_exp._tuning.database import studies_in
from salip_exp._tuning.search import take_part
from salip_exp._tuning.tune import StudyListener, study_in
from salip_exp.config import Config, ExecutorName


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Make or continue the study; returns 0, or the code of a signal, and raises what `study_in` raises."""
    if config.shard is not None:
        code = take_part(config, folder, Lab())
        return code or part_made("trial")
    trackers = [StudyTracker(WandbTracker(config.tracker, folder))] if config.tracker.used else []
    config, crew = _with_workers(config, folder, typed)
    listeners: list[StudyListener] = [*crew, StudyPage(), *trackers, StudyTable()]
    lab = Lab()

    def work() -> int:
        if config.tuning.storage is not None:  # a wrong one is said before phantoms are drawn
            studies_in(config.tuning.storage, config.tuning.lock_wait_s)
        tell_left_out(lab.dataset(config).left_out)
        return study_in(config, folder, lab, listeners).code

    return heard_to_the_end(listeners, work)


class _Crew(StudyListener):
    """Workers elsewhere, from the moment that the study is begun until it is complete."""

    def __init__(self, config: Config, folder: Path, typed: Sequence[str]) -> None:
        self.config, self.folder, self.typed = config, folder, typed
        self.crew: Crew | None = None

    def began(self, config: Config, folder: Path) -> None:
        """Start them."""
        self.crew = started(self.config, self.folder, self.typed)

    def ended(self, code: int) -> None:
        """End those that are left."""
        if self.crew is not None:
            self.crew.stop()


def _with_workers(config: Config, folder: Path, typed: Sequence[str]) -> tuple[Config, list[StudyListener]]:
    """Workers of this machine are the study's own processes; others are started beside this one, which works, too."""
    if config.executor.name is ExecutorName.processes:
        return replace(config, tuning=replace(config.tuning, n_workers=config.executor.workers)), []
    return config, [] if config.executor.name is ExecutorName.serial else [_Crew(config, folder, typed)]
