"""All trials of a study, by one process or several, with the best so far on the terminal."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from salip_exp._console import Report, only_words, progress
from salip_exp._environment import COMPUTING, PYTHON, environment_of_children, handing_on
from salip_exp._runs._identity import require_same
from salip_exp._runs._process import stoppable
from salip_exp._runs.lab import Lab
from salip_exp._secrets import handed_over, take
from salip_exp._tuning.database import Database
from salip_exp._tuning.study import Study, make_study
from salip_exp._tuning.trials import Best, read_trials
from salip_exp._tuning.worker import OnTrial
from salip_exp.config import Config
from salip_exp.errors import EnvironmentFault, SalipError

_LOOK = 2.0  # seconds between looks at what other workers did


@dataclass(frozen=True)
class Searched:
    """How a search went.

    Attributes:
        code: exit code of the signal that ended it; 0 if the study is complete.
        done: trials that were done now, by all workers of this command.
        seconds: that it took.
        taken_back: trials of dead workers that were taken up again at the start.
    """

    code: int
    done: int
    seconds: float
    taken_back: int


def search(study: Study, database: Database, folder: Path, on_trial: OnTrial) -> Searched:
    """Run what is missing of the study.

    Args:
        study: to work on.
        database: its own.
        folder: for the logs of workers.
        on_trial: is called with every finished trial, whoever did it, and whether now or before.

    Raises:
        EnvironmentFault: the database or the machine stands in the way; what is done is kept.
    """
    config = study.config
    if config.tuning.storage is None:  # the folder is locked, so nobody else uses its database
        database.void_claims()
    abandoned = database.abandoned(study.total)
    before = database.unfinished(study.total)
    start = time.perf_counter()
    with (
        _workers(config, folder) as others,
        stoppable() as stop,
        progress(study.total, config.progress, "trial") as report,
    ):
        reporter = _Reporter(study, database, report, on_trial)
        study.worker(database).run(reporter, lambda: stop.code is not None)
        for each in others:
            each.join()
    failed = [each for each in others if each.exitcode]
    left = database.unfinished(study.total)
    if failed and left and stop.code is None:
        raise EnvironmentFault(
            f"{len(failed)} of {len(others)} workers ended early and {left} trials are left: see run.log and "
            f"worker-*.log in {folder}; the same command continues"
        )
    return Searched(stop.code or 0, before - left, time.perf_counter() - start, abandoned)


@contextmanager
def _workers(config: Config, folder: Path) -> Iterator[list[BaseProcess]]:
    """All workers but this process."""
    context = multiprocessing.get_context("spawn")
    alone = replace(config, tuning=replace(config.tuning, n_workers=1), progress=False)
    started = [
        context.Process(target=_work, args=(alone, folder, number, handed_over()), name=f"worker-{number}", daemon=True)
        for number in range(1, config.tuning.n_workers)
    ]
    with handing_on(environment_of_children(PYTHON, COMPUTING, ("PG*", "KRB5*"))):
        for each in started:
            each.start()
    try:
        yield list(started)
    finally:
        for each in started:
            if each.is_alive():
                each.terminate()  # it finishes the trial at hand
                each.join()


def _work(config: Config, folder: Path, number: int, secrets: Mapping[str, str]) -> None:
    """A worker's process; it ends when the one that started it is gone."""
    only_words()
    take(secrets)
    parent = os.getppid()
    logging.basicConfig(filename=folder / f"worker-{number}.log", level=logging.INFO)
    try:
        take_part(config, folder, Lab(), lambda: os.getppid() != parent)
    except SalipError as error:
        logging.getLogger(__name__).exception("exit code %d", error.exit_code)
        sys.exit(error.exit_code)


def take_part(config: Config, folder: Path, lab: Lab, over: Callable[[], bool] = lambda: False) -> int:
    """Finish trials of the study that another process has begun in the folder, until none is left.

    Args:
        over: whether to stop after the trial at hand.

    Returns:
        0, or the code of the signal that ended it.

    Raises:
        EnvironmentFault: images have changed since the study began, or the database stands in the way.
    """
    study = make_study(config, folder, lab)
    require_same(folder, study.identity)
    database = Database(study.url, study.name, config.tuning)
    try:
        with stoppable() as stop:
            study.worker(database).run(lambda *_: None, lambda: stop.code is not None or over())
    finally:
        database.close()
    return stop.code or 0


class _Reporter:
    """Reports every finished trial once: this process's at once, and now and then those of others."""

    def __init__(self, study: Study, database: Database, report: Report, on_trial: OnTrial) -> None:
        self.study, self.database, self.report, self.on_trial, self.best = study, database, report, on_trial, Best()
        self.known: set[int] = set()
        self._look(new=False)

    def __call__(self, number: int, value: float | None) -> None:
        self._add(number, value)
        if self.study.config.tuning.n_workers > 1 and time.monotonic() - self.looked > _LOOK:
            self._look()

    def _look(self, new: bool = True) -> None:
        for each in read_trials(self.database, self.study.space, self.study.total):
            self._add(each.number, each.value, new)
        self.looked = time.monotonic()

    def _add(self, number: int, value: float | None, new: bool = True) -> None:
        if number not in self.known:
            self.known.add(number)
            self.best.add(number, value)
            self.on_trial(number, value)
            self.report(str(self.best), new)
