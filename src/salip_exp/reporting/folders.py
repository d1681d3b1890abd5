"""Run folders as they are found on disk: finished, running, killed or damaged; none is taken for another."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from salip_exp.running.lock import in_use
from salip_exp.running.records import CaseRecord, StaleRecord, read_record
from salip_exp.running.status import State, read_status
from salip_exp.running.summary import SCORES, VERSION

MARKS = {"summary.json", "status.json", "manifest.json", "cases"}
PART = {"cases", "dsc", "iou", "hd95", "volumes", "volume_dsc", "statuses", "failures"}
ESTIMATE = {"n", "missing", "mean", "sd", "low", "high", "interval"}


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
    """

    folder: Path
    label: Label
    why: str
    summary: Mapping[str, Any]
    manifest: Mapping[str, Any]
    records: tuple[CaseRecord, ...]
    unreadable: int


def find_runs(outputs: Path) -> list[RunFolder]:
    """Every run below a folder, the newest name first."""
    folders = []
    for place, inner, files in os.walk(outputs):
        if MARKS.intersection([*inner, *files]):
            folders.append(Path(place))
            inner.clear()  # what lies in a run folder is no run
    return [read_run(folder) for folder in sorted(folders, key=lambda each: (each.name, str(each)), reverse=True)]


def read_run(folder: Path) -> RunFolder:
    """What can be read of one run folder; whatever cannot be makes it `damaged`."""
    summary, manifest = read_json(folder / "summary.json"), _manifest(folder)
    records, unreadable = _records(folder)
    label, why = _label(folder, summary, manifest)
    if unreadable and label in (Label.finished, Label.killed, Label.interrupted):
        label, why = Label.damaged, f"{unreadable} case files cannot be read"
    usable = summary if label is Label.finished else None
    return RunFolder(folder, label, why, usable or {}, manifest or {}, records, unreadable)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is absent or is no such thing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _label(folder: Path, summary: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None) -> tuple[Label, str]:
    status = read_status(folder)
    state = status.get("state")
    if state != State.finished and in_use(folder):
        return Label.running, ""
    if (folder / "summary.json").exists():
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
        return all(_is_whole_part(part) for part in (summary["overall"], *summary["groups"].values()))
    except (TypeError, AttributeError, KeyError):
        return False


def _is_whole_part(part: Mapping[str, Any]) -> bool:
    estimates = [part[name] for name in SCORES] + ([part["volume_dsc"]] if part["volume_dsc"] else [])
    return set(part) >= PART and all(set(each) >= ESTIMATE for each in estimates)


def _manifest(folder: Path) -> dict[str, Any] | None:
    manifest = read_json(folder / "manifest.json")
    return manifest if manifest is not None and {"command", "data"} <= set(manifest) else None


def _records(folder: Path) -> tuple[tuple[CaseRecord, ...], int]:
    records, unreadable = [], 0
    for path in sorted((folder / "cases").glob("[!.]*.json")):
        try:
            records.append(read_record(path))
        except StaleRecord:
            unreadable += 1
    return tuple(records), unreadable
