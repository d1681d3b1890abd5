"""Jobs of `-m`: each tells how it began and ended in a folder that all of them see, whichever process it runs in.

Launchers run jobs in other processes and on other machines, of which the one that was typed hears nothing. Hydra's
callbacks travel with the jobs, so this one takes along where to tell.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from salip_exp._files import atomic_write, from_json, read_small
from salip_exp._settings.compose import FAULTS
from salip_exp._settings.folders import File
from salip_exp.errors import EnvironmentFault

# Of `Telling`, which our own file names, Hydra 1.4 says that it trusts it as yet; its word of others is heard.
_OURS = rf"hydra\.utils\.instantiate\(\) resolved _target_='{re.escape(__name__)}\.Telling' "
warnings.filterwarnings("ignore", _OURS, UserWarning)
_BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"


@dataclass(frozen=True)
class Job:
    """One job of `-m`, as far as it is seen from here.

    Attributes:
        overrides: what it was told.
        folder: where it lies; None where it was not heard to begin.
        code: its exit code; None where it was not heard to end.
        said: its complaint, empty without one.
    """

    overrides: Sequence[str]
    folder: Path | None = None
    code: int | None = None
    said: str = ""


@dataclass(frozen=True)
class Ended:
    """What a job returns to Hydra: its exit code, and its complaint."""

    code: int
    said: str = ""


class Telling(Callback):
    """Hydra's word of a sweep, and of each of its jobs in the process that runs it."""

    def __init__(self) -> None:
        self._place: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the place where jobs tell; where that cannot be, Hydra finds no place for its own files either."""
        with suppress(OSError):
            folder = Path(config.hydra.sweep.dir).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            self._place = Path(tempfile.mkdtemp(prefix=f"{File.jobs}-", dir=folder))
            _begun.append((self._place, _expected(config)))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell what the job was told, and where it lies."""
        self._tell(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Tell the exit code, too; a job that was stopped by a signal does not come here."""
        if job_return.status is JobStatus.COMPLETED:
            ended: Ended = job_return.return_value
            self._tell(config, code=ended.code, said=ended.said)

    def _tell(self, config: DictConfig, **end: Any) -> None:
        if self._place is None:
            return
        job = {"overrides": list(config.hydra.overrides.task), "folder": config.hydra.runtime.output_dir, **end}
        with suppress(EnvironmentFault):  # the table says of whom nothing was heard
            atomic_write(self._place / f"{config.hydra.job.num}.json", json.dumps(job))


_begun: list[tuple[Path, list[list[str]]]] = []
"""Sweeps of this process that nobody has asked about yet: where their jobs tell, and what each will be told."""


def under_way() -> bool:
    """Whether this process has begun a sweep."""
    return bool(_begun)


def told() -> list[Job]:
    """The jobs of the sweep of this process, by number, and forget it; none where none was begun."""
    if not _begun:
        return []
    place, expected = _begun.pop()
    found = {int(path.stem): _read(path) for path in place.glob("[0-9]*.json")}
    shutil.rmtree(place, ignore_errors=True)
    unheard = dict(enumerate(Job(each) for each in expected))
    return [job for _, job in sorted({**unheard, **found}.items())]


def _read(path: Path) -> Job:
    job: Mapping[str, Any] = from_json(read_small(path))
    return Job(job["overrides"], Path(job["folder"]), job.get("code"), job.get("said", ""))


def _expected(config: DictConfig) -> list[list[str]]:
    """What each job will be told; nothing where a sweeper of others chooses as it goes."""
    if config.hydra.sweeper._target_ != _BASIC:
        return []
    parameters = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    try:
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        parsed = parser.parse_overrides([*parameters, *config.hydra.overrides.task])
        return [list(each) for batch in BasicSweeper.split_arguments(parsed, None) for each in batch]
    except FAULTS:
        return []  # of which Hydra complains
