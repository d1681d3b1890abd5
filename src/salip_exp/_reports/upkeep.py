"""The pages below `outputs`: each written again where what it was made of has changed, and left alone where not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import salip_exp
from salip_exp._files import from_json, read_small, write_bytes
from salip_exp._reports.experiment_page import parts_of, write_experiment_page
from salip_exp._reports.index_page import Compared, Row, row_from, row_of, write_index
from salip_exp._reports.page import address
from salip_exp._reports.run_page import write_run_page
from salip_exp._runs.claims import at_work
from salip_exp._runs.folder import StudyFolder, find_studies, in_use, read_run, run_folders
from salip_exp._settings.folders import File
from salip_exp.plugins import config_folders, versions

_PROGRAM = {".py", ".j2", ".js", ".yaml"}
_RUN_PAGES = (File.report, File.case_script)
_UNSHOWN = {*_RUN_PAGES, File.pages, File.lock, File.log}
_INDEX_PAGES = (File.all_runs, File.comparison)


@dataclass(frozen=True)
class Note:
    """What pages were made of; it lies beside them (`File.pages`), and one that cannot be read counts as none.

    Attributes:
        key: digest over this program and the marks of all files that the pages show.
        marks: of the pages as they were written: one that was changed or removed since is written again.
        content: what other pages need of it, so that they need not read its files again.
    """

    key: str
    marks: list[str]
    content: dict[str, Any] = field(default_factory=dict)


class Pages:
    """The pages of all runs and experiments below a folder, and the two over all of them."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.rows: dict[Path, Row] = {}
        self.studies: list[StudyFolder] = []
        self._notes: dict[Path, Note] = {}
        self._written = 0

    def refresh(self) -> int:
        """Write what is out of date; of a run that has not changed, only the times of its files are looked at.

        Returns:
            How many pages of runs and experiments were written.

        Raises:
            EnvironmentFault: a page cannot be written.
        """
        self._written = 0
        self.rows = {folder: self._run(folder) for folder in run_folders(self.outputs)}
        self.studies = find_studies(self.outputs)
        written = self._written + sum(map(self._study, self.studies))
        self._notes = {folder: note for folder, note in self._notes.items() if folder.exists()}
        self._index()
        return written

    def _run(self, folder: Path) -> Row:
        index = address(self.outputs / File.all_runs, folder)

        fresh: list[Row] = []

        def make() -> dict[str, Any]:
            run = read_run(folder)
            write_run_page(run, index)
            fresh.append(row_of(run))
            return asdict(fresh[0])

        self._written += self._kept(folder, [index, *_files_of(folder)], _RUN_PAGES, make, row_from)
        return fresh[0] if fresh else Row(**self._notes[folder].content)

    def _study(self, study: StudyFolder) -> bool:
        if study.kind != "experiment" or not study.content:
            return False
        parts, shown = parts_of(study, self.outputs)

        def make() -> dict[str, Any]:
            write_experiment_page(study, self.outputs)
            return {}

        return self._kept(study.folder, [*map(mark, parts), shown], (File.study_page,), make)

    def _index(self) -> None:
        runs = [[str(folder), self._notes[folder].key] for folder in self.rows]
        studies = [
            [str(each.folder), each.label, mark(each.folder / File.study), (each.folder / File.study_page).exists()]
            for each in self.studies
        ]

        def make() -> dict[str, Any]:
            before = self._notes.get(self.outputs) or _read(self.outputs)
            known = Compared(before.content if before else {})
            write_index(self.outputs, self.rows, self.studies, known)
            return known.used

        self._kept(self.outputs, [runs, studies], _INDEX_PAGES, make)

    def _kept(
        self,
        folder: Path,
        parts: Sequence[Any],
        pages: Sequence[File],
        make: Callable[[], Any],
        usable: Callable[[dict[str, Any]], object] = lambda content: True,
    ) -> bool:
        """Have pages made, unless they are what would be made and their note is usable; whether they were."""
        key = hashlib.blake2b(json.dumps([program(), parts]).encode(), digest_size=20).hexdigest()
        known = self._notes.get(folder) or _read(folder)
        if known and known.key == key and known.marks == _marks(folder, pages) and usable(known.content):
            self._notes[folder] = known
            return False
        content = make()
        self._notes[folder] = Note(key, _marks(folder, pages), content)
        with suppress(OSError):  # the pages are there, and are made again next time
            write_bytes(folder / File.pages, json.dumps(asdict(self._notes[folder])).encode(), sync=False)
        return True


def mark(path: Path) -> str:
    """Changes whenever a file is written or replaced; empty where there is none."""
    try:
        return _facts(path.stat())
    except OSError:
        return ""


@cache
def program() -> str:
    """Digest over what makes pages: this program with its templates and defaults, and what packages add to it."""
    whole = hashlib.blake2b(json.dumps(versions("scores")).encode(), digest_size=20)
    for root in [*map(Path, [*salip_exp.__path__, *import_module("salip_exp.conf").__path__]), *config_folders()]:
        for path in sorted(each for each in root.rglob("*") if each.suffix in _PROGRAM):
            whole.update(path.relative_to(root).as_posix().encode())
            whole.update(path.read_bytes())
    return whole.hexdigest()


def _facts(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"


def _marks(folder: Path, pages: Sequence[File]) -> list[str]:
    return [mark(folder / name) for name in pages]


def _files_of(folder: Path) -> Iterator[Any]:
    """What tells of anything new to show of a run; a process that was killed changes no file, but its lock is free."""
    yield folder.absolute().parts[-3:]
    yield in_use(folder) or len(at_work(folder))
    for place in (folder, folder / ".hydra", folder / File.cases, folder / File.figures):
        with suppress(OSError), os.scandir(place) as found:
            files = [each for each in found if each.name not in _UNSHOWN and not each.is_dir()]
            yield sorted([each.name, _facts(each.stat())] for each in files)


def _read(folder: Path) -> Note | None:
    """The note of a folder; None where there is none, or none that this program would have written."""
    try:
        note = Note(**from_json(read_small(folder / File.pages)))
    except (OSError, ValueError, TypeError):
        return None
    return note if isinstance(note.content, dict) else None
