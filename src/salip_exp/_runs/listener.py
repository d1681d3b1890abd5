"""What a run tells of itself, and to whom: terminal, pages, pictures and trackers listen, and none is known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from salip_exp._runs._calibration import assessor_of
from salip_exp._runs._identity import Identity
from salip_exp._runs.records import CaseRecord
from salip_exp.cascade.sentences import PAIRED
from salip_exp.config import Config
from salip_exp.data._doubts import Doubts
from salip_exp.data.case import CaseRef, Dataset
from salip_exp.errors import SalipError
from salip_exp.evaluation._assessment import Assessor
from salip_exp.methods.base import Method
from salip_exp.methods.traits import METHODS, Chooser


@dataclass
class Run:
    """A run that has begun, as it goes on and as its listeners see it.

    Attributes:
        config: checked.
        folder: the run folder, claimed.
        command: what to type to get this run again.
        dataset: the cases it goes over.
        method: ready to predict.
        identity: all that makes its numbers other than pixels (`records.run_identity`).
        manifest: what `manifest.json` holds; it grows when the last case is finished.
        records: of the cases that are finished, in the order of the data.
        reused: how many of them were on disk already.
        redone: (id, reason) of records that were on disk and could not be used.
        gone: ids of cases that the run had when it began, and that the data set has no longer.
        summary: what `summary.json` holds; empty until all cases are finished.
        sentences: as CLIP reads them.
        natives: the cases by id at the size of their files, where they are scored so; else empty.
        assess: says how good its predictions are believed to be.
        doubts: what the targets of its cases say about its settings.
    """

    config: Config
    folder: Path
    command: Sequence[str]
    dataset: Dataset
    method: Method
    identity: Identity
    manifest: dict[str, Any]
    records: list[CaseRecord] = field(default_factory=list)
    reused: int = 0
    redone: list[tuple[str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    sentences: Sequence[str] = ()
    natives: Mapping[str, CaseRef] = field(default_factory=dict)
    assess: Assessor = field(init=False)
    doubts: Doubts = field(init=False)

    def __post_init__(self) -> None:
        self.assess = assessor_of(self.config)
        self.doubts = Doubts(
            self.config.dataset,
            self.config.area if METHODS[self.config.method].chooser is Chooser.clip else None,
            self.config.vdt.name in PAIRED,
        )


class Listener:
    """Hears of a run; a listener overrides what it wants to hear. What it raises ends the run."""

    def began(self, run: Run) -> None:
        """The first case is about to be read; `config.yaml` and `manifest.json` are there."""

    def case(self, run: Run) -> None:
        """One more case is finished and on disk: the last of `run.records`."""

    def scored(self, run: Run) -> None:
        """All cases are finished and summed up; the run does not count as finished yet, so more may be added to it."""

    def finished(self, run: Run) -> None:
        """All that the run itself writes is there."""

    def ended(self, code: int) -> None:
        """It is over, with this exit code, whether or not it ever began."""


class _Ends(Protocol):
    """Hears how a command ended."""

    def ended(self, code: int) -> None:
        """It is over, with this exit code."""
        ...


def heard_to_the_end(listeners: Sequence[_Ends], work: Callable[[], int]) -> int:
    """The exit code of the work; listeners hear it, or that of the error that ended the work."""
    code = SalipError.exit_code
    try:
        code = work()
    except SalipError as error:
        code = error.exit_code
        raise
    finally:
        for each in listeners:
            each.ended(code)
    return code
