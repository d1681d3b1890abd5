"""One cell from its overrides to its result: found finished, continued, run, or noted as missing or failed."""

from __future__ import annotations

import io
import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from salip_exp.config import Config
from salip_exp.errors import SalipError, TooManyFailures, WeightsError
from salip_exp.experiments.cells import Cell, Finished
from salip_exp.experiments.composing import absent, absent_weights, cell_key, composed, overrides_of
from salip_exp.methods.traits import METHODS
from salip_exp.runs.lab import Shared
from salip_exp.runs.manifest import write_manifest
from salip_exp.runs.on_disk import Label, read_run
from salip_exp.settings.run_name import label
from salip_exp.settings.tuning import searches

log = logging.getLogger(__name__)

CELLS = "cells"
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


class Stopped(Exception):
    """A signal ended the cell at hand, after the case at hand."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Conductor:
    """Runs the cells of one experiment, each content once.

    Args:
        config: of the experiment.
        typed: what the user typed for all cells.
    """

    def __init__(self, config: Config, typed: Sequence[str]) -> None:
        self.config = config
        self.typed = [*typed] if any(each.startswith("figures=") for each in typed) else [*typed, PICTURES]
        self.shared = Shared(config.cache.memory_mb)
        self.cells = Path(config.outputs) / CELLS
        self._composed: dict[tuple[str, ...], Config] = {}

    def outcome(self, cell: Cell) -> Finished | Unfinished:
        """The cell's result; what went wrong is a result too.

        Raises:
            Stopped: a signal came.
        """
        try:
            return self._outcome(cell)
        except Stopped:
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
        config = self.config_of(cell)
        reason = absent(config)
        option = absent_weights(config)
        if reason is None and option is not None and not config.download:
            reason = f"the weights of {option} are not on this machine, and download=false"
        if reason is not None:
            return Unfinished(cell, "missing", reason)
        key = cell_key(config, self.shared.data_sha256(config.dataset, config.seed))
        folder = self._folder(config, key, overrides_of(cell, self.config, self.typed))
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
        with redirect_stdout(io.StringIO()):  # the experiment has its own tables
            code = _run(config, folder, command, self.shared)
        if code:
            raise Stopped(code)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        write_manifest(folder, manifest | {"cell": {"key": key, "command": shlex.join(command)}})

    def _finished(self, cell: Cell, config: Config, folder: Path) -> Finished | Unfinished:
        run = read_run(folder)
        if run.label is not Label.finished:
            return Unfinished(cell, "failed", f"{folder} is {run.label}: {run.why}", folder=folder)
        records = {record.case_id: record for record in run.records}
        refs = [ref for ref in self.shared.dataset(config.dataset, config.seed).refs if ref.case_id in records]
        ordered = [records[ref.case_id] for ref in refs]
        return Finished(cell, config, folder, ordered, refs, lambda: self.shared.engine(config).method)

    def _with_failures(self, cell: Cell, folder: Path, why: str) -> Unfinished:
        log.warning("cell %s %s: %s", cell.dataset, cell.column, why)
        records = read_run(folder).records
        done = sum(not record.failed for record in records)
        return Unfinished(cell, "failed", " ".join(why.split()), done, len(records), folder)


def _run(config: Config, folder: Path, command: Sequence[str], shared: Shared) -> int:
    """The cell as the ordinary run that its configuration asks for."""
    from salip_exp.runs.runner import run

    if METHODS[config.method].trained:
        from salip_exp.training.trained_run import trained_run

        return trained_run(config, folder, command, shared.prepare)
    if searches(config) or config.tuned is not None:
        from salip_exp.tuning.tuned_run import tuned_run

        return tuned_run(config, folder, command, shared.prepare)
    return run(config, folder, command, shared.prepare)


def _said(overrides: Sequence[str]) -> list[str]:
    return [each for each in overrides if each != PICTURES]


def _key_in(folder: Path) -> str | None:
    """The key that a finished cell was stamped with."""
    try:
        manifest: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return str(manifest["cell"]["key"]) if (folder / "summary.json").exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
