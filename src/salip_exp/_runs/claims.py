"""Claims of workers on the shards of a run: who is at which, and whether that worker still lives.

All of it lies in the run folder, so that workers need nothing in common but that. A claim is a file that only one can
make; each that takes a shard over makes the next in number, so nothing is ever taken away from under anybody. Whether
a worker lives is told by its signs of life alone: clocks of two hosts are never compared.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from salip_exp._files import from_json, is_alive, keep, read_small, write_bytes
from salip_exp._runs.shards import Plan, read_plan
from salip_exp._settings.folders import File
from salip_exp.config import ExecutorConfig
from salip_exp.errors import EnvironmentFault


class Stand(StrEnum):
    """How a shard stands."""

    waiting = "waiting"  # nobody has taken it, or whoever had it let it go
    running = "running"
    done = "done"
    dead = "dead"  # its worker gives no sign of life; the next one takes it over


@dataclass(frozen=True)
class Claim:
    """What a worker says of the shard that it took.

    Attributes:
        shard: its number, from 0.
        turn: how many have taken it, this one included.
        worker: a name that no other has.
        host, pid, job: where it runs; the job is that of a queue, None without one.
        since: when it took the shard, by its own clock; shown and never compared.
        every: seconds between signs of life.
        beat: grows with every sign of life.
        stand: waiting where it was let go.
        at: id of the case at hand.
        cases, done: of the shard, and finished.
        lost: how many workers in a row have died over the case `at`.
        told: what a finished shard adds to the whole (`sharing.told_of`).
    """

    shard: int
    turn: int
    worker: str
    host: str
    pid: int
    job: str | None
    since: float
    cases: int
    every: float
    beat: int = 0
    stand: Stand = Stand.running
    at: str | None = None
    done: int = 0
    lost: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)


class Board:
    """The shards of one run as one process sees them: it takes some, and watches those of others."""

    def __init__(self, folder: Path, plan: Plan, config: ExecutorConfig, only: tuple[int, int] | None = None) -> None:
        """only: (i, n): of every n shards the one numbered i, and no other."""
        self.plan, self.config = plan, config
        self.place = folder / File.shards / plan.token
        self._mine = [each for each in range(len(plan.shards)) if only is None or each % only[1] == only[0] % only[1]]
        self._open = list(self._mine)  # that nobody may have taken yet
        self._done: set[int] = set()
        self._last: dict[int, Claim] = {}
        self._signs: dict[tuple[int, int], tuple[int, float]] = {}
        self._worker = uuid.uuid4().hex[:12]
        self._cut = _which(self.place.parent / File.plan)

    def take(self) -> Hold | None:
        """A shard that nobody has, or whose worker has let it go or died; None where there is none for now.

        Raises:
            EnvironmentFault: claims cannot be written, or the run was begun anew by somebody else.
        """
        while self._open:
            held = self._claim(self._open.pop(0), None)
            if held is not None:
                return held
        for claim in self.latest(self._mine):
            if self.stand(claim) in (Stand.waiting, Stand.dead) and (held := self._claim(claim.shard, claim)):
                return held
        return None

    def require_plan(self) -> None:
        """Prove that the run is still cut as it was.

        Raises:
            EnvironmentFault: it was ended, or begun anew, by somebody else.
        """
        if not (self.place.is_dir() and self._cut == _which(self.place.parent / File.plan)):
            raise EnvironmentFault(f"{self.place} is gone: the run was ended, or begun anew, by somebody else")

    @property
    def finished(self) -> bool:
        """Whether every shard of the run is done."""
        self.latest(range(len(self.plan.shards)))
        return len(self._done) == len(self.plan.shards)

    @property
    def exhausted(self) -> bool:
        """Whether every shard that is this process's to take is done."""
        self.latest(self._mine)
        return all(each in self._done for each in self._mine)

    def take_end(self) -> Hold | None:
        """The end of the run, which is claimed as a shard is, after all of them; None where another worker has it."""
        number = len(self.plan.shards)
        claims = self.latest([number])
        if claims and self.stand(claims[0]) not in (Stand.waiting, Stand.dead):
            return None
        return self._claim(number, claims[0] if claims else None)

    def latest(self, shards: Iterable[int]) -> list[Claim]:
        """The last claim on each of these shards that has one; those that are done are read once."""
        wanted = [each for each in shards if each not in self._done]
        turns = _turns(self.place) if wanted else {}
        for shard in wanted:
            if shard in turns and (claim := _read_claim(self.path(shard, turns[shard]), shard, turns[shard])):
                self._last[shard] = claim
                if claim.stand is Stand.done:
                    self._done.add(shard)
        return [self._last[each] for each in shards if each in self._last]

    def stand(self, claim: Claim) -> Stand:
        """How a shard stands by its last claim; a worker is dead when it was watched for long without a sign of life,
        or when it ran on this machine and is not there any more."""
        if claim.stand is not Stand.running:
            return claim.stand
        if claim.host == _here() and not is_alive(claim.pid):
            return Stand.dead
        beat, seen = self._signs.get((claim.shard, claim.turn), (-1, 0.0))
        if beat != claim.beat:
            self._signs[claim.shard, claim.turn] = claim.beat, time.monotonic()
            return Stand.running
        return Stand.dead if time.monotonic() - seen > self.config.dead_after_s else Stand.running

    def _claim(self, shard: int, before: Claim | None) -> Hold | None:
        """The shard, if this process is the first to make the claim."""
        lost = before.lost + 1 if before is not None and before.stand is Stand.running else 0
        claim = Claim(
            shard=shard,
            turn=1 if before is None else before.turn + 1,
            worker=self._worker,
            host=_here(),
            pid=os.getpid(),
            job=_job(),
            since=time.time(),
            cases=len(self.plan.shards[shard]) if shard < len(self.plan.shards) else 0,
            every=self.config.beat_s,
            at=before.at if before is not None and lost else None,
            lost=lost,
        )
        path = self.path(shard, claim.turn)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return None
        except OSError as error:
            raise EnvironmentFault(
                f"{path} cannot be written ({error.strerror}): the run was begun anew by somebody else, or the folder "
                "is gone or full"
            ) from error
        keep(self.place)  # from here on nothing is written there once it is gone
        hold = Hold(self, claim)
        hold.write()
        return hold

    def path(self, shard: int, turn: int) -> Path:
        """The file of a claim."""
        return self.place / f"{shard:05d}.{turn}.json"


class Hold:
    """A shard in this process's hands: signs of life go out by themselves, until it is done or let go."""

    def __init__(self, board: Board, claim: Claim) -> None:
        self.board, self.claim = board, claim
        self._lock, self._over = threading.Lock(), threading.Event()

    @property
    def cases(self) -> Sequence[str]:
        """Ids of the shard's cases."""
        return self.board.plan.shards[self.claim.shard]

    @property
    def taken_over(self) -> bool:
        """Whether somebody took this process for dead, and has the shard now."""
        return self.board.path(self.claim.shard, self.claim.turn + 1).exists()

    def write(self, **changes: Any) -> None:
        """Say how it goes: a sign of life, with what has changed.

        Raises:
            EnvironmentFault: the run was begun anew by somebody else, or the folder is gone.
            OSError: the disk is full.
        """
        with self._lock:
            self.claim = replace(self.claim, beat=self.claim.beat + 1, **changes)
            path = self.board.path(self.claim.shard, self.claim.turn)
            try:
                write_bytes(path, json.dumps(asdict(self.claim)).encode(), sync=False)
            except FileNotFoundError as error:
                raise EnvironmentFault(f"{path} is gone: the run was begun anew by somebody else") from error

    @contextmanager
    def held(self) -> Iterator[Hold]:
        """Give signs of life inside the `with` block; what was not done at its end is let go."""
        thread = threading.Thread(target=self._beat, daemon=True, name="signs of life")
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
            if self.claim.stand is Stand.running and not self.taken_over:
                with suppress(OSError, EnvironmentFault):  # whatever ended the block says more
                    self.write(stand=Stand.waiting)

    def _beat(self) -> None:
        while not self._over.wait(self.board.config.beat_s):
            with suppress(OSError, EnvironmentFault):  # the next case says so
                self.write()


_SKEW_S = 30.0
"""By which the clock of a file server may be off, for who only looks."""


def at_work(folder: Path) -> list[Claim]:
    """The claims of workers that seem to be at work in a run folder, at one look and so by the age of their files."""
    plan = read_plan(folder)
    if plan is None:
        return []
    board = Board(folder, plan, ExecutorConfig())
    try:
        claims = board.latest(range(len(plan.shards)))
    except EnvironmentFault:  # begun anew just now
        return []
    return [each for each in claims if board.stand(each) is Stand.running and _is_fresh(board, each)]


def _is_fresh(board: Board, claim: Claim) -> bool:
    try:
        age = time.time() - board.path(claim.shard, claim.turn).stat().st_mtime
    except OSError:
        return False
    return age < _SKEW_S + 3 * claim.every


def _which(plan: Path) -> tuple[int, int] | None:
    """Which file a plan is; None where there is none."""
    try:
        found = plan.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _turns(place: Path) -> dict[int, int]:
    """The last turn of every shard that was ever taken.

    Raises:
        EnvironmentFault: the folder of the claims is gone.
    """
    turns: dict[int, int] = {}
    try:
        names = [each.name for each in place.iterdir() if not each.name.startswith(".")]
    except OSError as error:
        raise EnvironmentFault(f"{place} is gone: the run was begun anew by somebody else") from error
    for name in names:
        shard, turn = (int(each) for each in name.split(".")[:2])
        turns[shard] = max(turn, turns.get(shard, 0))
    return turns


def _read_claim(path: Path, shard: int, turn: int) -> Claim | None:
    """The claim in a file; one that cannot be read yet, as of a worker that has not begun; None where it is gone."""
    try:
        values = from_json(read_small(path))
        return Claim(**values | {"stand": Stand(values["stand"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return Claim(shard, turn, worker="", host="", pid=0, job=None, since=0.0, cases=0, every=0.0)


@cache
def _here() -> str:
    """This machine, as far as its process numbers reach: another container of the same name is another machine."""
    with suppress(OSError):
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "JOB_COMPLETION_INDEX")
"""Variables by which queues tell their jobs who they are: SLURM, PBS, LSF, Grid Engine, Kubernetes."""


def _job() -> str | None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else next((found for n in _JOBS if (found := os.environ.get(n))), None)
