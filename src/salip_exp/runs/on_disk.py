"""Runs and studies as they are found on disk: finished, running, killed or damaged; none is taken for another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from salip_exp.runs.folder import State, in_use, read_json, read_pictures, read_status
from salip_exp.runs.records import CaseRecord, StaleRecord, read_record
from salip_exp.runs.summary import VERSION, is_whole
from salip_exp.settings.folders import File

MARKS = {"summary.json", "status.json", "manifest.json", "cases"}
STUDY, EXPERIMENTS = "study.json", "experiments"
STUDY_MARKS = {STUDY, "images.txt"}  # the latter lists tuning images, and is there from a study's beginning
STUDY_KEYS = {
    "tuning": {"dataset", "trials", "best", "images", "winner"},
    "experiment": {"name", "command", "data", "notes", "tables", "figures", "counters", "environment", "seconds"},
}


class Label(StrEnum):
    """What a run folder is."""

    finished = "finished"
    running = "running"
    interrupted = "interrupted"
    failed = "failed"
    killed = "killed"
    damaged = "damaged"


@dataclass(frozen=True)
class RunFolder:
    """One run as its folder tells it.

    Attributes:
        folder: where it lies.
        label: what it is.
        why: one sentence for any label but `finished` and `running`.
        summary: of a finished run, else empty.
        manifest: empty if there is none that can be read.
        records: the cases that can be read, by file name.
        unreadable: case files that cannot.
        pictures: of a finished run (`folder.read_pictures`).
    """

    folder: Path
    label: Label
    why: str
    summary: Mapping[str, Any]
    manifest: Mapping[str, Any]
    records: tuple[CaseRecord, ...]
    unreadable: int
    pictures: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class StudyFolder:
    """One study as its folder tells it.

    Attributes:
        folder: where it lies.
        kind: `tuning` or `experiment`.
        content: of `study.json`; empty where there is none that can be read: the study is not finished, or damaged.
    """

    folder: Path
    kind: str
    content: Mapping[str, Any]

    @property
    def label(self) -> Label:
        """Finished, running, or what became of it."""
        if in_use(self.folder):
            return Label.running
        if self.content:
            return Label.finished
        return Label.damaged if (self.folder / File.study).exists() else Label.interrupted


def find_runs(outputs: Path) -> list[RunFolder]:
    """Every run below a folder, the newest name first."""
    return [read_run(folder) for folder in run_folders(outputs)]


def run_folders(outputs: Path) -> list[Path]:
    """Where runs lie below a folder, the newest name first."""
    found = [folder for folder, names in _walk(outputs) if _is_run(folder, names, outputs)]
    return sorted(found, key=lambda each: (each.name, str(each)), reverse=True)


def find_studies(outputs: Path) -> list[StudyFolder]:
    """Every tuning study and every experiment below a folder, by name."""
    found = [folder for folder, names in _walk(outputs) if names & STUDY_MARKS or _is_experiment(folder, outputs)]
    return [read_study(folder, outputs) for folder in sorted(found)]


def read_study(folder: Path, outputs: Path) -> StudyFolder:
    """What can be read of one study below `outputs`."""
    content = read_json(folder / File.study) or {}
    # By what it says, too: hydra.run.dir may put an experiment anywhere.
    kind = "experiment" if _is_experiment(folder, outputs) or content.get("kind") == "experiment" else "tuning"
    return StudyFolder(folder, kind, content if set(content) >= STUDY_KEYS[kind] else {})


def _walk(outputs: Path) -> Iterator[tuple[Path, set[str]]]:
    """Folders with the names in them; of what lies in a run folder, only the study that it was tuned by."""
    for place, inner, files in os.walk(outputs):
        names = {*inner, *files}
        if _is_run(Path(place), names, outputs):
            inner[:] = [name for name in inner if name == File.own_study]
        yield Path(place), names


def _is_run(folder: Path, names: set[str], outputs: Path) -> bool:
    return bool(MARKS & names) and not names & STUDY_MARKS and not _is_experiment(folder, outputs)


def _is_experiment(folder: Path, outputs: Path) -> bool:
    return folder.parent == outputs / File.experiments


def read_run(folder: Path) -> RunFolder:
    """What can be read of one run folder; whatever cannot be makes it `damaged`."""
    summary, manifest = read_json(folder / File.summary), _manifest(folder)
    records, unreadable = _records(folder)
    label, why = _label(folder, summary, manifest)
    if unreadable and label in (Label.finished, Label.killed, Label.interrupted):
        label, why = Label.damaged, f"{unreadable} case files cannot be read"
    usable = summary if label is Label.finished else None
    drawn = read_pictures(folder) if usable else {"figures": [], "strips": []}
    return RunFolder(folder, label, why, usable or {}, manifest or {}, records, unreadable, drawn)


def _label(folder: Path, summary: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None) -> tuple[Label, str]:
    status = read_status(folder)
    state = status.get("state")
    if state != State.finished and in_use(folder):
        return Label.running, ""
    if (folder / File.summary).exists():
        return _finished(summary, manifest)
    if state in (State.failed, State.interrupted):
        return Label(state), str(
            status.get("message") or f"after {status.get('done', '?')} cases; resume=true continues"
        )
    if state == State.running:
        return (
            Label.killed,
            f"process {status.get('pid', '?')} on {status.get('host', '?')} is gone; resume=true continues",
        )
    return Label.damaged, "status.json and summary.json are missing or cannot be read"


def _finished(summary: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None) -> tuple[Label, str]:
    if summary is None:
        return Label.damaged, "summary.json cannot be read"
    if summary.get("version") != VERSION:
        return Label.damaged, f"summary.json is of version {summary.get('version')}, this program reads {VERSION}"
    if not _is_whole(summary) or manifest is None:
        return Label.damaged, "summary.json or manifest.json is not whole"
    return Label.finished, ""


def _is_whole(summary: Mapping[str, Any]) -> bool:
    """Whether a summary has all that pages show of it."""
    if not {"overall", "groups", "notes", "networks", "definitions", "confidence"} <= set(summary):
        return False
    try:
        return all(is_whole(part) for part in (summary["overall"], *summary["groups"].values()))
    except (TypeError, AttributeError, KeyError):
        return False


def _manifest(folder: Path) -> dict[str, Any] | None:
    manifest = read_json(folder / File.manifest)
    if manifest is None or not {"command", "commit", "data"} <= set(manifest):
        return None
    return manifest if isinstance(manifest["data"], dict) and "n_used" in manifest["data"] else None


def _records(folder: Path) -> tuple[tuple[CaseRecord, ...], int]:
    records, unreadable = [], 0
    for path in sorted((folder / File.cases).glob("[!.]*.json")):
        try:
            records.append(read_record(path))
        except StaleRecord:
            unreadable += 1
    return tuple(records), unreadable
