"""The data set: every case is read as a run would read it, and what is wrong with it is named."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from salip_exp.checking.finding import Finding, Level, failure, fine, warning
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.errors import CaseError, DataError, SalipError
from salip_exp.running.progress import progress

AREA = "data"
NAMED = 5  # images named of many with the same note


@dataclass
class Data:
    """What looking at all cases showed.

    Attributes:
        findings: in the order of the data.
        cases: that can be read.
        pixels: of the largest of them.
    """

    findings: list[Finding] = field(default_factory=list)
    cases: int = 0
    pixels: int = 0


def look(config: Config) -> Data:
    """Open the data set and read every case of it."""
    from salip_exp.data.registry import open_dataset

    try:
        dataset = open_dataset(config.dataset, config.seed)
    except SalipError as error:
        return Data([failure(AREA, error)])
    seen = _Seen(config)
    with progress(len(dataset.refs), config.progress, "case") as report:
        for ref in dataset.refs:
            seen.read(ref)
            report(f"{len(seen.broken)} cannot be read")
    return Data([*_left_out(dataset), *seen.findings(), _counted(dataset, seen)], seen.cases, seen.pixels)


class _Seen:
    """What is noted while cases go by; none is kept."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.cases = self.pixels = 0
        self.broken: dict[str, CaseError] = {}  # by volume, or by id where there is none
        self.untried: dict[str, int] = defaultdict(int)  # further slices of a broken volume
        self.empty: list[str] = []
        self.untargeted: list[str] = []
        self.notes: dict[str, list[str]] = {"constant image": []}
        self.same: dict[bytes, list[str]] = defaultdict(list)

    def read(self, ref: CaseRef) -> None:
        """Read a case as a run does. A volume is one file: where one slice cannot be read, none is tried after it."""
        if ref.volume in self.broken:
            self.untried[str(ref.volume)] += 1
            return
        try:
            self._note(ref.load())
        except CaseError as error:
            self.broken[ref.volume or ref.case_id] = error
        except Exception as error:  # as in a run: whatever a case raises is that case's, and is named
            code = "E_OOM" if isinstance(error, MemoryError) else "E_INTERNAL"
            self.broken[ref.volume or ref.case_id] = CaseError(code, f"{type(error).__name__}: {error}")

    def _note(self, case: Case) -> None:
        self.cases += 1
        self.pixels = max(self.pixels, case.image.shape[0] * case.image.shape[1])
        self.same[hashlib.sha256(case.image.tobytes()).digest()].append(case.case_id)
        if case.mask is None:
            self.untargeted.append(case.case_id)
        elif not case.mask.any():
            self.empty.append(case.case_id)
        for note in case.notes:
            self.notes.setdefault(note, []).append(case.case_id)

    def findings(self) -> Iterator[Finding]:
        for name, error in self.broken.items():
            more = f" (and {self.untried[name]} further slices)" if self.untried[name] else ""
            yield failure(AREA, DataError(f"{name}{more}: {error.code}: {error}"))
        for case_id in self.empty:
            policy = self.config.score.empty_target
            yield warning(
                AREA, f"{case_id}: its target is empty, scored by score.empty_target={policy}; look at the mask"
            )
        if self.untargeted:
            yield warning(
                AREA, f"{len(self.untargeted)} images have no target and get no score: {_some(self.untargeted)}"
            )
        for ids in self.same.values():
            if len(ids) > 1 and ids[0] not in self.notes["constant image"]:
                yield warning(AREA, f"{_some(ids)} hold the very same pixels: remove the copies, which count twice")
        for note, ids in self.notes.items():
            if ids:
                yield Finding(_level(note), AREA, f"{len(ids)} images: {note} ({_some(ids)})")


def _level(note: str) -> Level:
    """Whether what a reader did is as it should be (an outline filled) or leaves something to look at."""
    harmless = ("outline filled", "windowed from 16 bit", "alpha dropped", "ellipse fitted")
    return Level.ok if note.endswith(harmless) else Level.warn


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    """Images that a run leaves out: broken links and the like are errors, a missing mask is the user's to judge."""
    for name, reason in dataset.excluded:
        if reason.startswith("E_"):
            yield failure(AREA, DataError(f"{name}: {reason}"))
        else:
            yield warning(AREA, f"{name} is left out: {reason}")


def _counted(dataset: Dataset, seen: _Seen) -> Finding:
    out = len(dataset.excluded)
    said = f"{dataset.name}: {seen.cases} of {dataset.found} images found can be used, {out} are left out"
    if seen.cases:
        return fine(AREA, said)
    return failure(AREA, DataError(f"{said}: no case is left to run on"))


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
