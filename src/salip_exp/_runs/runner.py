"""One run from its configuration to its run folder: claim, read data, load networks, loop over cases, sum up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from salip_exp._files import keep, require_kept
from salip_exp._runs._cases import run_cases
from salip_exp._runs._dicom_seg import require_extra
from salip_exp._runs._identity import differences, read_identity, without, write_identity
from salip_exp._runs._manifest import closing, opening, write_config
from salip_exp._runs._process import stoppable
from salip_exp._runs._volumes import write_volumes
from salip_exp._runs.candidates import write_candidates
from salip_exp._runs.claims import Board, Stand
from salip_exp._runs.folder import State, claim, require_new, write_json, write_status
from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Listener, Run, heard_to_the_end
from salip_exp._runs.masks import write_masks
from salip_exp._runs.records import (
    recipe,
    run_identity,
)
from salip_exp._runs.shards import Plan, cut, digest, drop_plan, read_plan, write_plan
from salip_exp._runs.sharing import Begun, gather, require_nobody, work
from salip_exp._runs.summary import summarise, write_tables
from salip_exp._settings.executor import shard_of
from salip_exp._settings.folders import PAGES_LEFT, File, is_complete, key_of, way_on
from salip_exp._timing import Parts
from salip_exp._wording import many
from salip_exp.cache._base import tallies
from salip_exp.config import Config, ScoreAt, Task
from salip_exp.data.case import Dataset
from salip_exp.errors import EnvironmentFault, TooManyFailures
from salip_exp.evaluation.scores import scores

_Choose = Callable[[Dataset], Dataset]
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
    choose: _Choose = everything,
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
    if config.shard is not None:
        return heard_to_the_end(listeners, lambda: _work(config, folder, _whole(command), lab, listeners, choose))
    with claim(folder):
        require_new(folder, config.resume)
        require_nobody(folder, config.executor)
        drop_plan(folder)
        write_status(folder, State.running)
        return heard_to_the_end(listeners, lambda: _conduct(config, folder, command, lab, listeners, choose))


def _conduct(
    config: Config, folder: Path, command: Sequence[str], lab: Lab, listeners: Sequence[Listener], choose: _Choose
) -> int:
    """All of a run inside its claimed folder; 0, or the exit code of the signal that ended it."""
    try:
        begun = _begun(config, folder, command, lab, choose)
        run = begun.run
        _settle(run)
        for each in listeners:
            each.began(run)
        with begun.parts("cases"), stoppable() as stop:
            run_cases(run, stop, listeners)
        if len(run.records) < len(run.dataset.refs):
            return _interrupted(run, stop.code or 0)
        _sum_up(begun, lab, listeners)
    except BaseException as error:
        leave(folder, error)
        raise
    return _tell(run, listeners)


def _sum_up(begun: Begun, lab: Lab, listeners: Sequence[Listener]) -> None:
    """Sum up a run that has all its records; it is finished then, but for what is told of that."""
    run, loaded, parts = begun.run, begun.loaded, begun.parts
    # Before listeners that ask the method again; `parts` goes on counting.
    run.manifest |= closing(run, begun.built, parts, lab.store(run.config.cache))
    with parts("results"):
        run.summary = summarise(run.records, run.config, loaded.labels, loaded.sentences)
        run.manifest["masks_absent"] = write_masks(run.folder, run.records, run.config.dataset)
        write_tables(run.folder, run.records, run.config.score.at)
        write_volumes(run.folder, run.records, run.config.dataset, run.config.score)
        write_candidates(run.folder, run.records, run.sentences)
        for each in listeners:
            each.scored(run)
    write_json(run.folder / File.manifest, run.manifest)
    write_json(run.folder / File.summary, run.summary)
    write_status(run.folder, State.finished, **_counts(run), **{PAGES_LEFT: True})


def _tell(run: Run, listeners: Sequence[Listener]) -> int:
    """Tell a finished run to all who listen; 0, or raises what `_verdict` does."""
    for each in listeners:
        each.finished(run)
    write_status(run.folder, State.finished, **_counts(run))
    return _verdict(run)


def _work(
    config: Config, folder: Path, command: Sequence[str], lab: Lab, listeners: Sequence[Listener], choose: _Choose
) -> int:
    """Take shards of the run in a folder until none is left, and end the run if they were the last.

    Returns:
        0, or the code of the signal that ended it; what it held is free for others then.
    """
    begun = _begun(config, folder, command, lab, choose)
    board = None
    while True:
        try:
            board = _joined(begun.run)
            if board is None:
                sys.stderr.write(f"{folder} is finished: nothing is left to do\n")
                return 0
            keep(folder)
            with _told_when_broken(begun.run, board):
                with begun.parts("cases"), stoppable() as stop:
                    work(begun, board, stop)
                if stop.code is None and board.finished:
                    return _ended_by_one(begun, board, lab, listeners)
                return _parted(begun.run, board, stop.code or 0)
        except EnvironmentFault:
            if board is not None and (folder / File.summary).exists():  # others have ended it meanwhile
                return 0
            plan = _plan_of(begun.run)
            if plan is None or (board is not None and plan.token == board.plan.token):
                raise
            # Where there are no locks two may have cut the same run at once: the later one's shards are taken.


@contextmanager
def _told_when_broken(run: Run, board: Board) -> Iterator[None]:
    """Say in the folder how its last worker ended, where the `with` block is left by an error or at once."""
    try:
        yield
    except BaseException as error:
        with suppress(EnvironmentFault):
            board.require_plan()  # else the run is ended, or another
            if Stand.running not in map(board.stand, board.latest(range(len(board.plan.shards)))):
                leave(run.folder, error)
        raise


def _whole(command: Sequence[str]) -> list[str]:
    """What to type to get all of a run, from what a part of it was started by."""
    return [each for each in command if key_of(each) not in _OF_A_PART and not key_of(each).startswith("executor.")]


_OF_A_PART = {"shard", "resume", "progress", "hydra.output_subdir"}


def _joined(run: Run) -> Board | None:
    """The shards of the run in a folder, cut now if this is the first of its workers; None of a finished run.

    Raises:
        EnvironmentFault: the folder holds another run, or cannot be written.
    """
    config, folder = run.config, run.folder
    assert config.shard is not None
    only = shard_of(config.shard)
    plan = _plan_of(run)
    if plan is None:
        with claim(folder, wait=True, locks=False):
            plan = _plan_of(run)
            if plan is None:
                if is_complete(folder) and read_identity(folder) == run.identity:
                    return None
                require_new(folder, config.resume)
                require_nobody(folder, config.executor)
                write_status(folder, State.running)
                drop_plan(folder)
                _settle(run)
                workers = config.executor.workers if only is None else only[1]
                plan = write_plan(folder, run.identity, cut(run.dataset.refs, config.executor, workers))
    return Board(folder, plan, config.executor, only)


def _plan_of(run: Run) -> Plan | None:
    """How the run is cut, where it is, and is this one."""
    plan = read_plan(run.folder)
    return plan if plan is not None and plan.of == digest(run.identity) else None


def _ended_by_one(begun: Begun, board: Board, lab: Lab, listeners: Sequence[Listener]) -> int:
    """End a run whose shards are all done, once; 0 where another worker is at that, or was."""
    run = begun.run
    end = board.take_end()
    if end is None:
        return 0
    with claim(run.folder, wait=True, locks=False):
        with end.held():
            for each in listeners:
                each.began(run)
            gather(begun, board, listeners)
            write_config(run.folder, run.config)  # of this worker, by whose settings it is summed up
            _sum_up(begun, lab, listeners)
            end.write(stand=Stand.done)
        drop_plan(run.folder)
        return _tell(run, listeners)


def _parted(run: Run, board: Board, code: int) -> int:
    """Say that this worker leaves, or has made its part of, a run that is not ended; in the folder, too, if nobody else
    is at work there."""
    total = len(board.plan.shards)
    stands = [board.stand(each) for each in board.latest(range(total))]
    done = stands.count(Stand.done)
    if not code and done == total:  # somebody else has made the last of them just now, and ends the run
        return 0
    said = f"{done} of {many(total, 'shard')} done"
    if Stand.running not in stands:
        write_status(run.folder, State.interrupted, message=said)
    why = "stopped" if code else f"nothing is left of shard={run.config.shard}"
    sys.stderr.write(f"{why}: {said}; whoever makes the last ends the run\n")
    return code


def _begun(config: Config, folder: Path, command: Sequence[str], lab: Lab, choose: _Choose) -> Begun:
    """The run before its first case; nothing is written yet."""
    parts = Parts()
    scores()  # what another package gives is looked at before networks are loaded
    if config.dataset.files.dicom_seg:
        require_extra()
    store = lab.store(config.cache)  # before them, too: a folder that cannot be written must not cost a model's loading
    store.stats.update(tallies())
    with parts("data"):
        dataset = lab.dataset(config)
    with parts("models"):
        loaded = lab.loaded(config)
        method = lab.method(config)
    dataset = choose(dataset)
    mixture = recipe(config, loaded.hashes, loaded.sentences, loaded.device)
    identity = run_identity(mixture, [ref.case_id for ref in dataset.refs])
    run = Run(config, folder, command, dataset, method, identity, opening(config, command, dataset, loaded))
    run.sentences = loaded.sentences
    run.natives = lab.natives(config) if config.score.at is ScoreAt.native else {}
    return Begun(run, loaded, parts, method.counters.to_dict(), store)


def _settle(run: Run) -> None:
    """Say in the folder what the run is of; a run that continues says what has changed since it began."""
    before = read_identity(run.folder)
    write_config(run.folder, run.config)
    for place in (File.cases, File.predictions, File.candidates, File.masks):
        keep(run.folder / place)
    (run.folder / File.summary).unlink(missing_ok=True)  # of what it was until now
    write_identity(run.folder, run.identity)
    write_json(run.folder / File.manifest, run.manifest)
    changes = [] if before is None else differences(before, run.identity)
    if before is not None and changes:
        run.gone = without(before.cases, run.identity.cases)
        sys.stderr.write(f"changed since this run began: {'; '.join(changes)}; what that touches is done again\n")


def _counts(run: Run) -> dict[str, int]:
    return {"done": len(run.records), "failed": sum(each.failed for each in run.records)}


def _interrupted(run: Run, code: int) -> int:
    done, total = len(run.records), len(run.dataset.refs)
    write_status(run.folder, State.interrupted, done=done, total=total, exit_code=code)
    on = way_on(Task.run, run.folder)
    sys.stderr.write(f"stopped after {done} of {total} cases, in {run.folder}{f'; {on}' if on else ''}\n")
    return code


def leave(folder: Path, error: BaseException) -> None:
    """Say how the run ended; one that never began leaves nothing to continue."""
    stopped = isinstance(error, KeyboardInterrupt | SystemExit)
    state = State.interrupted if stopped else State.failed
    with suppress(EnvironmentFault, OSError):  # the disk that ended the run may be full for this as well
        require_kept(folder)
        if (folder / File.config).exists():
            said = "" if isinstance(error, SystemExit) else str(error)  # whose text is a number
            write_status(folder, state, message=" ".join(said.split()))
        else:
            (folder / File.status).unlink(missing_ok=True)


def _verdict(run: Run) -> int:
    failed = [record for record in run.records if record.failed]
    if len(failed) > run.config.max_failed * len(run.records):
        raise TooManyFailures(
            f"{len(failed)} of {many(len(run.records), 'case')} failed, more than max_failed={run.config.max_failed} "
            f"allows, the first being {failed[0].case_id} ({failed[0].message}); all results are in {run.folder}"
        )
    return 0
