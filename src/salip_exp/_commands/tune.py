"""`task=tune`: a study in its folder, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from salip_exp._reports.listeners import tell_left_out
from salip_exp._reports.study_page import StudyPage, StudyTable
from salip_exp._tracking.studies import StudyTracker
from salip_exp._tracking.wandb_tracker import WandbTracker
from salip_exp._tuning.database import studies_in
from salip_exp._tuning.tune import StudyListener, study_in
from salip_exp.config import Config
from salip_exp.runs.lab import Lab
from salip_exp.runs.listener import heard_to_the_end


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Make or continue the study; returns 0, or the code of a signal, and raises what `study_in` raises."""
    trackers = [StudyTracker(WandbTracker(config.tracker, folder))] if config.tracker.used else []
    listeners: list[StudyListener] = [StudyPage(), *trackers, StudyTable()]
    lab = Lab()

    def work() -> int:
        if config.tuning.storage is not None:  # a wrong one is said before phantoms are drawn
            studies_in(config.tuning.storage, config.tuning.lock_wait_s)
        tell_left_out(lab.dataset(config).left_out)
        return study_in(config, folder, lab, listeners).code

    return heard_to_the_end(listeners, work)
