"""One study in its folder: search, judge the winner, and leave all that it came to."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salip_exp._files import atomic_write, require_kept
from salip_exp._runs._identity import require_same
from salip_exp._runs.folder import claim
from salip_exp._runs.lab import Lab
from salip_exp._settings.folders import File
from salip_exp._tuning.choosing import winner
from salip_exp._tuning.database import Database
from salip_exp._tuning.results import write_results
from salip_exp._tuning.search import search
from salip_exp._tuning.space import Space
from salip_exp._tuning.study import begun_study
from salip_exp._tuning.trials import TrialRow, read_trials, trial_table
from salip_exp._tuning.worker import applied
from salip_exp._wording import many
from salip_exp.config import Config, Task


@dataclass(frozen=True)
class Result:
    """What a study came to.

    Attributes:
        code: 0 if it is complete, else of the signal that stopped it.
        config: with the winner's settings; the study's own where it was stopped.
        images: ids of the tuning images.
        subjects: of these images.
        space: that was searched.
        trials: finished, by number.
        report: what `study.json` holds; empty where it was stopped.
    """

    code: int
    config: Config
    images: tuple[str, ...]
    subjects: tuple[str, ...]
    space: Space
    trials: Sequence[TrialRow]
    report: Mapping[str, Any]


class StudyListener:
    """Hears of a study; a listener overrides what it wants to hear."""

    def began(self, config: Config, folder: Path) -> None:
        """The first trial is about to be claimed."""

    def trial(self, number: int, value: float | None) -> None:
        """A trial is finished, by whichever worker, now or before; None is the value of one that failed."""

    def finished(self, folder: Path, result: Result) -> None:
        """The study is complete, and what it came to is in its folder."""

    def ended(self, code: int) -> None:
        """The command is over, with this exit code, whether or not the study ever began."""


def study_in(config: Config, folder: Path, lab: Lab, listeners: Sequence[StudyListener] = ()) -> Result:
    """Make or continue the study in the folder.

    Args:
        config: checked.
        folder: of the study; made if absent.
        lab: lends images, networks and stage cache.
        listeners: hear of it, but for its end, which is that of the command.

    Raises:
        TooManyFailures: no trial has a value; the trials' table is written nevertheless.
        EnvironmentFault: the folder is in use, holds another study, or was deleted, moved or replaced meanwhile, or the
            database or the disk stands in the way.
        DataError, WeightsError, ConfigError: what is missing or wrong.
    """
    with claim(folder, wait=config.shard is not None):  # workers of one run wait for the one that makes its study
        study = begun_study(config, folder, lab)
        config = study.config
        require_same(folder, study.identity)
        atomic_write(folder / File.tuning_images, "".join(f"{each}\n" for each in study.image_ids))
        database = Database(study.url, study.name, config.tuning)
        try:
            for each in listeners:
                each.began(config, folder)

            def on_trial(number: int, value: float | None) -> None:
                require_kept(folder)
                for each in listeners:
                    each.trial(number, value)

            searched = search(study, database, folder, on_trial)
            trials = read_trials(database, study.space, study.total)
            atomic_write(folder / File.trials, trial_table(trials, study.space))
            if searched.code:
                how = "" if config.task is Task.tune else " with resume=true"
                sys.stderr.write(
                    f"stopped after {len(trials)} of {many(study.total, 'trial')}; the same command{how} continues\n"
                )
                return Result(searched.code, config, study.image_ids, study.subjects, study.space, trials, {})
            best = winner(trials, config)
            report = write_results(study, folder, trials, searched)
        finally:
            database.close()
    result = Result(0, applied(config, best.values), study.image_ids, study.subjects, study.space, trials, report)
    for each in listeners:
        each.finished(folder, result)
    return result
