"""One cell from its overrides to its result: found finished, continued, run, or noted as missing or failed."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import Timeout
from rich.console import Console

from salip_exp._execute import execute
from salip_exp._experiments.cells import Cell, Finished
from salip_exp._experiments.composing import absent, absent_text, absent_weights, cell_key, composed, overrides_of
from salip_exp._files import process_lock, require_kept
from salip_exp._runs._process import Stop
from salip_exp._runs.folder import InUse, State, read_json, read_run, write_json
from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Listener
from salip_exp._settings.folders import File, label
from salip_exp._wording import many, number, some
from salip_exp.config import CacheMode, Config
from salip_exp.errors import DataError, EnvironmentFault, SalipError, TooManyFailures, WeightsError

if TYPE_CHECKING:
    from salip_exp._tuning.tune import StudyListener

log = logging.getLogger(__name__)

_LOOK_S = 1.0
"""Between looks at cells that another experiment is at work on."""

PICTURES = "figures='worst:1,median:1,best:1'"
"""Of a cell, unless the user says otherwise: there are many, and each can be run again with more."""


@dataclass(frozen=True)
class Unfinished:
    """A cell without a result.

    Attributes:
        state: `missing`: what it needs is not here; `failed`: it was tried.
        why: one sentence.
        n: cases with a prediction, of `of` cases, where the run got so far.
        folder: its run folder, if it has one.
    """

    cell: Cell
    state: Literal["missing", "failed"]
    why: str
    n: int | None = None
    of: int | None = None
    folder: Path | None = None


_Done = dict[tuple[str, str], Finished | Unfinished]
_Listen = Callable[[Config, Path], Sequence[Listener]]
_OfStudy = Callable[[Config], Sequence["StudyListener"]]


def _unheard(*_: object) -> tuple[()]:
    """Nobody."""
    return ()


class _Stopped(Exception):
    """A signal ended the cell at hand, after the case at hand."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class CellRunner:
    """Runs the cells of one experiment, each content once.

    Args:
        config: of the experiment.
        typed: what the user typed for all cells.
        listen: who hears of the run of a cell, from its configuration and its folder.
        of_study: who hears of a study that such a run makes first.
    """

    def __init__(
        self, config: Config, typed: Sequence[str], listen: _Listen = _unheard, of_study: _OfStudy = _unheard
    ) -> None:
        self.config = config
        self.typed = [*typed] if any(each.startswith("figures=") for each in typed) else [*typed, PICTURES]
        self.lab = Lab(config.cache.memory_mb)
        self.listen, self.of_study = listen, of_study
        self.cells = Path(config.outputs) / File.experiment_cells
        self._composed: dict[tuple[str, ...], Config] = {}

    def outcome(self, cell: Cell) -> Finished | Unfinished:
        """The cell's result; what went wrong is a result too.

        Raises:
            _Stopped: a signal came.
            InUse: another experiment is at work on it, or on what it needs.
        """
        try:
            return self._outcome(cell)
        except (_Stopped, InUse):
            raise
        except SalipError as error:
            log.exception("cell %s %s", cell.dataset, cell.column)
            return Unfinished(cell, "failed", " ".join(str(error).split()))
        except Exception as error:
            log.exception("cell %s %s", cell.dataset, cell.column)
            return Unfinished(cell, "failed", f"{type(error).__name__}: {error}; the traceback is in run.log")

    def config_of(self, cell: Cell) -> Config:
        """The cell's configuration; raises ConfigError."""
        overrides = tuple(overrides_of(cell, self.config, self.typed))
        if overrides not in self._composed:
            self._composed[overrides] = composed(overrides, self.config)
        return self._composed[overrides]

    def _outcome(self, cell: Cell) -> Finished | Unfinished:
        untold = absent_text(cell, self.config)
        if untold is not None:
            return Unfinished(cell, "missing", untold)
        config = self.config_of(cell)
        reason = absent(config)
        option = absent_weights(config)
        if reason is None and option is not None and not config.download:
            reason = f"the weights of {option} are not on this machine, and download=false"
        if reason is not None:
            return Unfinished(cell, "missing", reason)
        try:
            key = cell_key(config, self.lab.data_sha256(config))
        except WeightsError as error:  # of a hub: its hash is known when it is there
            if absent_weights(config) is None:
                raise
            return Unfinished(cell, "missing", " ".join(str(error).split()))
        folder = self._folder(config, key, overrides_of(cell, self.config, self.typed))
        with _alone(self.cells / config.dataset.name / f".{key[:16]}.lock"):
            return self._made(cell, config, folder, key)

    def _made(self, cell: Cell, config: Config, folder: Path, key: str) -> Finished | Unfinished:
        if _key_in(folder) == key:
            return self._finished(cell, config, folder)
        try:
            self._run(cell, replace(config, resume=True), folder, key)
        except TooManyFailures as error:
            return self._with_failures(cell, folder, str(error))
        except WeightsError as error:
            if absent_weights(config) is None:
                raise
            return Unfinished(cell, "missing", " ".join(str(error).split()))
        return self._finished(cell, config, folder)

    def _folder(self, config: Config, key: str, overrides: Sequence[str]) -> Path:
        """Where this content lies already, under whatever label, or where it is to lie."""
        place = self.cells / config.dataset.name
        name = key[:16]
        return next(iter(sorted(place.glob(f"*/{name}"))), place / label(_said(overrides)) / name)

    def _run(self, cell: Cell, config: Config, folder: Path, key: str) -> None:
        overrides = overrides_of(cell, self.config, self.typed)
        command = ["python", "-m", "salip_exp", *overrides]
        if config.cache.mode is CacheMode.off:  # it is measured alone: what cells before hold is dropped
            self.lab = Lab(config.cache.memory_mb)
        listeners = self.listen(config, folder)
        code = execute(config, folder, command, self.lab, listeners, self.of_study, train=True)
        if code:
            raise _Stopped(code)
        self._require_same_images(config, folder)
        manifest = read_json(folder / File.manifest) or {}
        write_json(folder / File.manifest, manifest | {"cell": {"key": key, "command": shlex.join(command)}})

    def _require_same_images(self, config: Config, folder: Path) -> None:
        """Prove that the run read the images that the cell's key is of."""
        known = self.lab.fingerprints(config)
        other = [each.case_id for each in read_run(folder).records if each.fingerprint not in ("", known[each.case_id])]
        if other:
            raise DataError(f"{some(other)} were changed while the cell ran: the same command runs it again")

    def _finished(self, cell: Cell, config: Config, folder: Path) -> Finished | Unfinished:
        run = read_run(folder)
        if run.label is not State.finished:
            return Unfinished(cell, "failed", f"{folder} is {run.label}: {run.why}", folder=folder)
        records = {record.case_id: record for record in run.records}
        refs = [ref for ref in self.lab.dataset(config).refs if ref.case_id in records]
        ordered = [records[ref.case_id] for ref in refs]
        return Finished(cell, config, folder, ordered, refs, lambda: self.lab.method(config))

    def _with_failures(self, cell: Cell, folder: Path, why: str) -> Unfinished:
        log.warning("cell %s %s: %s", cell.dataset, cell.column, why)
        records = read_run(folder).records
        done = sum(not record.failed for record in records)
        return Unfinished(cell, "failed", " ".join(why.split()), done, len(records), folder)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other experiments off a cell until it has its key and was read.

    Raises:
        InUse: one is at it.
        EnvironmentFault: files there cannot be locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = process_lock(path, timeout_s=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InUse(f"{path} is held by another experiment") from error
    except OSError as error:
        raise EnvironmentFault(
            f"{path} cannot be locked ({error.strerror}): choose another place by outputs=DIR"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while held: whoever has opened it notices that it is the lock no more
        lock.release()


def _said(overrides: Sequence[str]) -> list[str]:
    return [each for each in overrides if each != PICTURES]


def _key_in(folder: Path) -> str | None:
    """The key that a finished cell was stamped with."""
    cell = (read_json(folder / File.manifest) or {}).get("cell")
    return str(cell.get("key")) if isinstance(cell, dict) and (folder / File.summary).exists() else None


def run_cells(runner: CellRunner, cells: Sequence[Cell], stop: Stop, home: Path) -> tuple[_Done, int]:
    """Outcomes of all cells, and the code of the signal that ended them (0 for none); a line for each.

    A cell that another experiment is at work on is left to it, and looked at again after the others.

    Args:
        home: folder of the experiment.

    Raises:
        EnvironmentFault: that folder was deleted, moved or replaced meanwhile.
    """
    done: _Done = {}
    progress = runner.config.progress
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=not progress)
    left = [*cells]
    while left:
        busy: list[Cell] = []
        for cell in left:
            start = time.monotonic()
            require_kept(home)
            try:
                if stop.code is not None:
                    raise _Stopped(stop.code)
                outcome = runner.outcome(cell)
            except InUse:
                busy.append(cell)
                continue
            except _Stopped as stopped:
                sys.stderr.write(
                    f"stopped after {len(done)} of {many(len(cells), 'cell')}; the same command continues\n"
                )
                return done, stopped.code
            done[cell.dataset, cell.column] = outcome
            console.print(f"{len(done)}/{len(cells)} {_line(cell, outcome)}, {time.monotonic() - start:.0f} s")
        if busy and len(busy) < len(left):
            console.print(f"{many(len(busy), '[cell is|cells are]')} made by another experiment: waiting")
        left = busy
        time.sleep(_LOOK_S if busy else 0)
    return {(cell.dataset, cell.column): done[cell.dataset, cell.column] for cell in cells}, 0


def _line(cell: Cell, outcome: Finished | Unfinished) -> str:
    if isinstance(outcome, Unfinished):
        return f"{cell.name}: {outcome.state}: {outcome.why}"
    scores = [record.dsc for record in outcome.records if record.dsc is not None]
    return f"{cell.name}: DSC {number(sum(scores) / len(scores) if scores else None)} (n={len(scores)})"
