"""One run from its configuration to its run folder: claim, read data, load networks, loop over cases, sum up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from salip_exp._settings.folders import File
from salip_exp._timing import Parts
from salip_exp.cache._base import tallies
from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.errors import EnvironmentFault, TooManyFailures
from salip_exp.evaluation.scores import scores
from salip_exp.runs._manifest import closing, opening, write_config
from salip_exp.runs._process import stoppable
from salip_exp.runs._tables import write_tables
from salip_exp.runs.cases import run_cases
from salip_exp.runs.folder import State, claim, write_json, write_status
from salip_exp.runs.identity import recipe
from salip_exp.runs.lab import Lab, Loaded
from salip_exp.runs.listener import Listener, Run, heard_to_the_end
from salip_exp.runs.summary import summarise

Choose = Callable[[Dataset], Dataset]
"""Leaves out cases that a run may not score: those that its settings were tuned on, or its network was trained on."""


def everything(dataset: Dataset) -> Dataset:
    """The data set as it is."""
    return dataset


def run(
    config: Config,
    folder: Path,
    command: Sequence[str],
    lab: Lab,
    listeners: Sequence[Listener] = (),
    choose: Choose = everything,
) -> int:
    """Run the configured method over the configured data set and fill the run folder.

    Every case is on disk when it is finished, so the run can end at any moment and be continued by `resume=true`.

    Args:
        config: checked.
        folder: the run folder; made if absent.
        command: what to type to get this run again.
        lab: lends data and networks.
        listeners: hear of it, in this order.
        choose: which cases of the data set are run.

    Returns:
        0, or 130 or 143 when a signal ended the run after the case at hand.

    Raises:
        TooManyFailures: more cases failed than `max_failed` allows; everything is written nevertheless.
        EnvironmentFault: the folder is in use, holds another run, or cannot be written.
        DataError, WeightsError, ConfigError: from the lab, or from `choose`.
    """
    with claim(folder):
        if not config.resume and any((folder / File.cases).glob("*.json")):
            raise EnvironmentFault(
                f"{folder} holds a run already: resume=true continues it, hydra.run.dir=DIR starts anew"
            )
        write_status(folder, State.running)
        return heard_to_the_end(listeners, lambda: _conduct(config, folder, command, lab, listeners, choose))


def _conduct(
    config: Config, folder: Path, command: Sequence[str], lab: Lab, listeners: Sequence[Listener], choose: Choose
) -> int:
    """All of a run inside its claimed folder; 0, or the exit code of the signal that ended it."""
    try:
        parts = Parts()
        run, loaded = _begun(config, folder, command, lab, choose, parts)
        built = run.method.counters.to_dict()
        for each in listeners:
            each.began(run)
        with parts("cases"), stoppable() as stop:
            run_cases(run, stop, listeners)
        if len(run.records) < len(run.dataset.refs):
            return _interrupted(run, stop.code or 0)
        # Before listeners that ask the method again; `parts` goes on counting.
        run.manifest |= closing(run, built, parts, lab.store(config.cache))
        with parts("results"):
            run.summary = summarise(run.records, config, loaded.names)
            write_tables(folder, run.records)
            for each in listeners:
                each.scored(run)
        _finish(run)
    except BaseException as error:
        _leave(folder, error)
        raise
    for each in listeners:
        each.finished(run)
    return _verdict(run)


def _begun(
    config: Config, folder: Path, command: Sequence[str], lab: Lab, choose: Choose, parts: Parts
) -> tuple[Run, Loaded]:
    """The run before its first case, with `config.yaml` and `manifest.json` written."""
    scores()  # what another package gives is looked at before networks are loaded
    store = lab.store(config.cache)  # before them, too: a folder that cannot be written must not cost a model's loading
    store.stats.update(tallies())
    with parts("data"):
        dataset = lab.dataset(config)
    with parts("models"):
        loaded = lab.loaded(config)
        method = lab.method(config)
    dataset = choose(dataset)
    mixture = recipe(config, loaded.hashes, loaded.sentences, loaded.device)
    run = Run(config, folder, command, dataset, method, mixture, opening(config, command, dataset, loaded))
    write_config(folder, config)
    write_json(folder / File.manifest, run.manifest)
    return run, loaded


def _finish(run: Run) -> None:
    write_json(run.folder / File.manifest, run.manifest)
    write_json(run.folder / File.summary, run.summary)
    failed = sum(each.failed for each in run.records)
    write_status(run.folder, State.finished, done=len(run.records), failed=failed)


def _interrupted(run: Run, code: int) -> int:
    done, total = len(run.records), len(run.dataset.refs)
    write_status(run.folder, State.interrupted, done=done, total=total, exit_code=code)
    sys.stderr.write(
        f"stopped after {done} of {total} cases, in {run.folder}; the same command with resume=true continues\n"
    )
    return code


def _leave(folder: Path, error: BaseException) -> None:
    """Say how the run ended; one that never began leaves nothing to continue."""
    if not (folder / File.config).exists():
        (folder / File.status).unlink(missing_ok=True)
        return
    stopped = isinstance(error, KeyboardInterrupt | SystemExit)
    state = State.interrupted if stopped else State.failed
    try:
        write_status(folder, state, message=" ".join(str(error).split()))
    except EnvironmentFault:
        return  # the disk that ended the run may be full for this as well; the error itself is on its way up


def _verdict(run: Run) -> int:
    failed = [record for record in run.records if record.failed]
    if len(failed) > run.config.max_failed * len(run.records):
        raise TooManyFailures(
            f"{len(failed)} of {len(run.records)} cases failed, more than max_failed={run.config.max_failed} allows, "
            f"the first being {failed[0].case_id} ({failed[0].message}); all results are in {run.folder}"
        )
    return 0
