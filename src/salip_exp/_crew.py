"""Workers of one command: started by the configured engine, watched by what they leave in the folder, replaced."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from salip_exp._console import Report, progress
from salip_exp._engines.base import RUNNING, WAITING, Crew, engine
from salip_exp._files import keep, require_kept
from salip_exp._runs._process import Stop, stoppable
from salip_exp._runs.claims import Board, Stand
from salip_exp._runs.folder import State, claim, read_json, require_new, write_json, write_status
from salip_exp._runs.runner import leave
from salip_exp._runs.shards import Plan, drop_plan, read_plan
from salip_exp._runs.sharing import require_nobody
from salip_exp._settings.executor import AUTO
from salip_exp._settings.folders import File, is_complete, key_of, way_on
from salip_exp._wording import many, some
from salip_exp.config import Config, ExecutorConfig, Task
from salip_exp.errors import ConfigError, DataError, EnvironmentFault, SalipError, TooManyFailures, WeightsError

_LOOK_S = 2.0
_PATIENCE = 3
"""Times the number of workers that may be started in the place of lost ones before any more work is done."""
_OWN = {"hydra.run.dir", "resume", "progress", "shard", "executor"}


def worker_command(command: Sequence[str], folder: Path, config: ExecutorConfig) -> list[str]:
    """What a worker is started by, after the interpreter: the user's own command, as a part of it.

    Args:
        command: what the user typed, with the program.
        folder: of what the workers share.
    """
    typed = list(command[1:] if command[:1] == ["salip-exp"] else command[3:])
    kept = [each for each in typed if key_of(each) not in _OWN and not key_of(each).startswith("executor.")]
    numbers = {name: value for name, value in asdict(config).items() if name in _SHARED and value is not None}
    device = ["device=cuda"] if config.gpus and not any(key_of(each) == "device" for each in kept) else []
    return [
        *("-m", "salip_exp", *kept, *device),  # a GPU that is named and not there must not mean the CPU
        *(f"hydra.run.dir={folder.absolute()}", "hydra.output_subdir=null", f"shard={AUTO}", "resume=true"),
        *("progress=false", *(f"executor.{name}={value}" for name, value in numbers.items())),
    ]


_SHARED = ("workers", "shard_cases", "beat_s", "dead_after_s")
"""What a worker must know of the executor that started it."""


def run_shared(config: Config, folder: Path, command: Sequence[str]) -> int:
    """Have the run in a folder made by workers, and wait until it is; detached, until they are queued.

    Returns:
        0, or the code of the signal that ended it and them.

    Raises:
        EnvironmentFault: the engine is not there, the folder is in use or cannot be written, or workers are lost
            without end.
        TooManyFailures: more cases failed than `max_failed` allows.
        SalipError: of the kind that ended all workers, with the last one's sentence.
    """
    engine(config.executor)  # says what is not there before anything is written
    _clear(config, folder)
    keep(folder)
    watch = _Watch(config, folder, worker_command(command, folder, config.executor))
    try:
        watch.start(config.executor.workers)
        if not config.executor.detach:
            with stoppable() as stop:
                return watch.to_the_end(stop)
    except BaseException as error:
        if not is_complete(folder):
            leave(folder, error)
        raise
    look = f"python -m salip_exp task=status {shlex.quote(str(folder))}"
    sys.stderr.write(_queued(config, watch.ids, f"{look} shows the run; whoever is last writes tables and pages"))
    return 0


def started(config: Config, folder: Path, command: Sequence[str]) -> Crew:
    """Workers of an experiment, a study or several runs, at work on what is free; raises what the engine does."""
    part = worker_command(command, folder, config.executor)
    crew = engine(config.executor).start([part] * config.executor.workers, folder / File.workers)
    write_json(folder / File.crew, {"executor": asdict(config.executor), "ids": list(crew.ids)})
    return crew


def assisted(config: Config, folder: Path, command: Sequence[str]) -> int:
    """Have workers make what they can of an experiment, or of several runs, and wait; detached, until they are queued.

    Whatever they leave undone, for whatever reason, is left to who called.

    Returns:
        0, or the code of the signal that ended them.
    """
    crew = started(config, folder, command)
    if config.executor.detach:
        sys.stderr.write(_queued(config, crew.ids, "the same command without executor makes the tables"))
        return 0
    try:
        with stoppable() as stop:
            while stop.code is None and any(each in (RUNNING, WAITING) for each in crew.states().values()):
                time.sleep(_LOOK_S)
        for id, state in crew.states().items():
            if _code(state):
                sys.stderr.write(f"worker {id} {state}: {crew.last_line(id)}\n")
    finally:
        crew.stop()
    return stop.code or 0


def part_made(what: str) -> int:
    """Say of a worker of an experiment or a study that it is done, and what makes the tables; returns 0."""
    sys.stderr.write(f"no {what} is left for this worker; the same command without shard makes the tables\n")
    return 0


def _queued(config: Config, ids: Sequence[str], then: str) -> str:
    """What is said when workers are queued and the command returns."""
    maker = engine(config.executor)
    return (
        f"{many(len(ids), 'worker')} queued ({some(ids)}); look: {maker.how_to_look}; stop: {maker.how_to_stop}; "
        f"{then}\n"
    )


def _clear(config: Config, folder: Path) -> None:
    """Prove that nobody is at work in the folder, and forget how its run was cut before."""
    with claim(folder, locks=False):
        require_new(folder, config.resume)
        require_nobody(folder, config.executor)
        drop_plan(folder)
        write_status(folder, State.waiting)


class _Watch:
    """All workers of a run, those that took the place of others included."""

    def __init__(self, config: Config, folder: Path, command: Sequence[str]) -> None:
        self.config, self.folder, self.command = config, folder, command
        self.crews: list[Crew] = []
        self.replaced: set[str] = set()
        self.start_s = time.monotonic()
        self.in_vain = 0  # starts since more cases were done
        self.done = 0
        self.bar = ExitStack()
        self.report: Report | None = None

    @property
    def ids(self) -> list[str]:
        """What a user looks for by the engine's own tools."""
        return [id for crew in self.crews for id in crew.ids]

    def start(self, n: int) -> None:
        """Start so many workers more, and say in the folder who they are."""
        logs = self.folder / File.workers / str(len(self.crews))
        self.crews.append(engine(self.config.executor).start([self.command] * n, logs))
        write_json(self.folder / File.crew, {"executor": asdict(self.config.executor), "ids": self.ids})

    def to_the_end(self, stop: Stop) -> int:
        """Wait until the run is finished; see `run_shared`."""
        try:
            with self.bar:
                while stop.code is None and not is_complete(self.folder):
                    self._tell()
                    self._replace_lost()
                    self._pause()
                self._tell()
            while stop.code is None and RUNNING in self._states().values():  # telling trackers, or about to notice
                self._pause()
        finally:
            for crew in self.crews:
                crew.stop()
        return self._ended(stop.code) if stop.code is not None else self._verdict()

    def _pause(self) -> None:
        """The longer a run takes, the seldomer it is looked at: its end waits for no more than a hundredth of it."""
        time.sleep(min(_LOOK_S, 0.05 + 0.01 * (time.monotonic() - self.start_s)))

    def _tell(self) -> None:
        """Move the bar by the cases that were finished since."""
        plan = read_plan(self.folder)
        if plan is not None and self.report is None:
            shown = progress(sum(map(len, plan.shards)), self.config.progress, "case")
            self.report = self.bar.enter_context(shown)
        if self.report is None:
            return
        done, at_it = self._counted(plan)
        for _ in range(self.done, done):
            self.report(f"by {many(at_it, 'worker')}")
        self.in_vain = 0 if done > self.done else self.in_vain
        self.done = max(done, self.done)

    def _counted(self, plan: Plan | None) -> tuple[int, int]:
        """Cases that are finished, and how many workers are at others."""
        return (plan and _done(self.folder, plan, self.config)) or (self._total(), 0)

    def _total(self) -> int:
        """Cases of a run that is finished, whose shards are gone."""
        status = read_json(self.folder / File.status) or {}
        return int(status.get("done", self.done)) if is_complete(self.folder) else self.done

    def _states(self) -> dict[str, str]:
        return {id: state for crew in self.crews for id, state in crew.states().items()}

    def _replace_lost(self) -> None:
        """Start others for workers that a signal or a machine took, and one where all left before the end.

        Raises:
            SalipError: of the kind that ended the last of them.
            EnvironmentFault: many are lost, and nothing gets done, or the folder was moved.
        """
        require_kept(self.folder)
        states = self._states()
        lost = [id for id, state in states.items() if id not in self.replaced and _code(state) == _LOST]
        alive = any(state in (RUNNING, WAITING) for state in states.values())
        if not lost and (alive or is_complete(self.folder)):
            return
        failed = [id for id, state in states.items() if _code(state) not in (0, _LOST)]
        if not lost and failed:
            self._fail(failed[-1], states[failed[-1]])
        self.replaced.update(lost)
        n = len(lost) or 1
        self.in_vain += n
        if self.in_vain > _PATIENCE * self.config.executor.workers:
            raise EnvironmentFault(f"workers are lost one after another, the last by: {self._last(lost)}")
        self.start(n)

    def _fail(self, id: str, state: str) -> NoReturn:
        kinds = {each.exit_code: each for each in (ConfigError, DataError, WeightsError, EnvironmentFault)}
        raise kinds.get(_code(state), SalipError)(f"all workers ended; one said: {self._last([id])}")

    def _last(self, ids: Sequence[str]) -> str:
        """What one of these workers said last, and where the rest stands."""
        lines = [line for crew in self.crews for id in crew.ids if id in ids and (line := crew.last_line(id))]
        said = lines[-1].removeprefix("error: ") if lines else "nothing"
        return f"{said} (its log is below {self.folder / File.workers})"

    def _ended(self, code: int) -> int:
        self.done, _ = self._counted(read_plan(self.folder))  # with the cases that were at hand
        if not is_complete(self.folder):
            write_status(self.folder, State.interrupted, done=self.done, exit_code=code)
        on = way_on(Task.run, self.folder)
        sys.stderr.write(f"stopped after {many(self.done, 'case')}, in {self.folder}{f'; {on}' if on else ''}\n")
        return code

    def _verdict(self) -> int:
        """0, or raises what a single process would have raised."""
        status = read_json(self.folder / File.status) or {}
        done, failed = int(status.get("done", 0)), int(status.get("failed", 0))
        if failed > self.config.max_failed * done:
            raise TooManyFailures(
                f"{failed} of {many(done, 'case')} failed, more than max_failed={self.config.max_failed} allows; all "
                f"results are in {self.folder}"
            )
        return 0


_LOST = -1


def _code(state: str) -> int:
    """0 for a worker that is not ended, or ended well; its exit code; `_LOST` for one that was killed or is gone."""
    if not state.startswith("failed"):
        return 0
    found = re.search(r"exit code (\d+)", state)
    return int(found[1]) if found and int(found[1]) < 128 else _LOST


def _done(folder: Path, plan: Plan, config: Config) -> tuple[int, int] | None:
    """Cases that are finished, and how many workers are at others; None where the claims were taken away just now."""
    try:
        board = Board(folder, plan, config.executor)
        claims = board.latest(range(len(plan.shards)))
    except EnvironmentFault:
        return None
    done = sum(each.cases if each.stand is Stand.done else each.done for each in claims)
    return done, sum(board.stand(each) is Stand.running for each in claims)
