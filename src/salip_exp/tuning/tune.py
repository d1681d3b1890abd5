"""`task=tune`: search, judge the winner, and leave all of it in the study's folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salip_exp.config import Config, Task
from salip_exp.files import atomic_write
from salip_exp.runs.folder import claim
from salip_exp.tracking.studies import TrialLog, study_results, study_started
from salip_exp.tracking.tracker import NoTracker, Tracker, tracking
from salip_exp.tuning.database import Database
from salip_exp.tuning.results import write_pages, write_results
from salip_exp.tuning.search import Searched, search
from salip_exp.tuning.study import Gather, Study, gather, make_study
from salip_exp.tuning.trials import TrialRow, read_trials, trial_table, winner
from salip_exp.tuning.worker import applied

IMAGES, TRIALS = "images.txt", "trials.csv"
UNHEARD = NoTracker()


@dataclass(frozen=True)
class Result:
    """A study that is complete, or was stopped by a signal.

    Attributes:
        code: exit code; 0 if it is complete.
        config: with the winner's settings; the study's own where it was stopped.
        images: ids of the tuning images.
        report: what `study.json` holds; empty where it was stopped.
    """

    code: int
    config: Config
    images: tuple[str, ...]
    report: dict[str, Any]


def tune(config: Config, folder: Path, gather: Gather = gather) -> int:
    """Make or continue the study in the folder, and say how it went; returns 0, or the code of a signal."""
    from salip_exp.reports.study_page import say

    with tracking(config, folder) as tracker:
        result = study_in(config, folder, gather, tracker)
        if result.code:
            tracker.end(result.code)
    if not result.code:
        say(folder, result.report)
    return result.code


def study_in(config: Config, folder: Path, gather: Gather = gather, tracker: Tracker = UNHEARD) -> Result:
    """Make or continue the study in the folder.

    Args:
        config: checked.
        folder: of the study; made if absent.
        gather: gives images and networks; the default takes what is configured.
        tracker: of a study that is a run of its own; one inside a run is told to that run's, when it is complete.

    Raises:
        TooManyFailures: no trial has a value; the trials' table is written nevertheless.
        EnvironmentFault: the folder is in use, or the database or the disk stands in the way.
        DataError, WeightsError, ConfigError: what is missing or wrong.
    """
    with claim(folder):
        study = make_study(config, folder, gather)
        ids = study.material.drawn.ids
        atomic_write(folder / IMAGES, "".join(f"{each}\n" for each in ids))
        database = Database(study.url, study.name, config.tuning)
        try:
            tracker.tell(study_started(config, folder))
            searched = search(study, database, folder, TrialLog(tracker))
            trials = read_trials(database, study.space, study.total)
            atomic_write(folder / TRIALS, trial_table(trials, study.space))
            if searched.code:
                how = "" if config.task is Task.tune else " with resume=true"
                sys.stderr.write(
                    f"stopped after {len(trials)} of {study.total} trials; the same command{how} continues\n"
                )
                return Result(searched.code, config, ids, {})
            result = _judged(study, database, folder, trials, searched)
            tracker.tell(study_results(folder))
            return result
        finally:
            database.close()


def _judged(study: Study, database: Database, folder: Path, trials: list[TrialRow], searched: Searched) -> Result:
    best = winner(trials, study.config)
    report = write_results(study, database, folder, trials, searched)
    write_pages(folder, trials, study.space, report, Path(study.config.outputs))
    return Result(0, applied(study.config, best.values), study.material.drawn.ids, report)
