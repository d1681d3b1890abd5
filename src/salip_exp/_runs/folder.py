"""Output folders: claimed by one process while they are written, never half there, and read as what they are."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import Timeout

from salip_exp._files import (
    NO_LOCKS,
    atomic_write,
    clear_drafts,
    from_json,
    is_stopped,
    keep,
    let_go,
    process_lock,
    prove_writable,
    read_small,
    require_kept,
    sync_chain,
)
from salip_exp._runs._identity import Identity, read_identity
from salip_exp._runs.claims import at_work
from salip_exp._runs.records import CaseRecord, StaleRecord, read_record, record_key, record_path
from salip_exp._runs.shards import read_plan
from salip_exp._runs.summary import VERSION, is_whole
from salip_exp._settings.folders import File, is_complete, is_part, is_unfinished, way_on
from salip_exp._wording import many
from salip_exp.config import Task
from salip_exp.errors import EnvironmentFault


class State(StrEnum):
    """Where a run stands. The first five are written; the others are found, of what holds no lock any more."""

    waiting = "waiting"  # its workers are in a queue, and none has begun
    running = "running"
    finished = "finished"
    failed = "failed"
    interrupted = "interrupted"
    killed = "killed"  # it still says `running`
    damaged = "damaged"


_CLAIM_S = 1.0
"""How long to wait for a folder: whoever looks whether it is in use holds its lock for a moment."""


def write_status(folder: Path, state: State, **facts: Any) -> None:
    """Write the state with the process, its host and the time.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    status = {
        "state": state,
        "pid": os.getpid(),
        "host": platform.node(),
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        **facts,
    }
    write_json(folder / File.status, status)


def _read_status(folder: Path) -> dict[str, Any]:
    """The last status that was written; empty if there is none that can be read."""
    return _readable(folder / File.status) or {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that every reader takes: NaN is refused, since no figure of a run may be one.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    atomic_write(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object that the program goes on from; None if the file is absent or is no such thing.

    Raises:
        EnvironmentFault: it is there, and cannot be read.
    """
    try:
        return _parsed(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read ({error.strerror or error}): get access to it") from error


def _readable(path: Path) -> dict[str, Any] | None:
    """A JSON object of a folder that is looked at as it is; None if it cannot be read either."""
    try:
        return _parsed(path)
    except OSError:
        return None


def _parsed(path: Path) -> dict[str, Any] | None:
    try:
        content = from_json(read_small(path))
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


class InUse(EnvironmentFault):
    """Another process is at work in a folder."""


@contextmanager
def claim(folder: Path, wait: bool = False, locks: bool = True) -> Iterator[None]:
    """Make the folder of a run, a study, a training or an experiment, and keep every other process out of it.

    From then on it outlasts a power cut, drafts of killed processes are gone, and whatever is written below it is
    written while it is this very folder, or not at all (`_files.keep`).

    Args:
        wait: for another process that is at work in it, however long.
        locks: whether it must be locked; without, a file system that has no locks will do.

    Raises:
        InUse: another process is at work in it.
        EnvironmentFault: it cannot be written or locked.
    """
    lock = process_lock(folder / File.lock, -1 if wait else _CLAIM_S)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        prove_writable(folder)
        lock.acquire()
        keep(folder)
        sync_chain(folder)
    except Timeout as error:
        raise InUse(
            f"{folder} is in use by {_owner(folder)}: wait for it, or choose another folder by hydra.run.dir=DIR"
        ) from error
    except OSError as error:
        lock.release()
        if locks or error.errno not in NO_LOCKS:
            raise EnvironmentFault(_unusable(folder, error)) from error
        keep(folder)
    try:
        clear_drafts(folder)
        yield
    finally:
        # Unlinked while held: whoever opened it before gets a file that is no longer the lock, and notices.
        with suppress(OSError, EnvironmentFault):
            require_kept(folder)
            (folder / File.lock).unlink()
        let_go(folder)
        lock.release()


def require_new(folder: Path, resume: bool) -> None:
    """Prove that a folder holds no run yet, unless it is to be continued.

    Raises:
        EnvironmentFault: it holds one.
    """
    if not resume and any((folder / File.cases).glob("*.json")):
        raise EnvironmentFault(f"{folder} holds a run already: resume=true continues it, hydra.run.dir=DIR starts anew")


def _owner(folder: Path) -> str:
    """The process at work in a folder, and whether somebody has stopped it."""
    status = _read_status(folder)
    pid, host = status.get("pid", "?"), status.get("host", "?")
    stopped = host == platform.node() and is_stopped(pid)
    return f"process {pid} on {host}" + f", which is stopped (kill -CONT {pid} lets it go on)" * stopped


def _unusable(folder: Path, error: OSError) -> str:
    if error.errno in NO_LOCKS:
        return (
            f"files in {folder} cannot be locked ({error.strerror}), so nothing would keep two runs apart there: "
            "choose a file system with locks by outputs=DIR, or have it mounted with them"
        )
    return f"the run folder {folder} cannot be written ({error}): choose another place by outputs=DIR"


def in_use(folder: Path) -> bool:
    """Whether a living process holds the folder; False also where that cannot be found out."""
    if not (folder / File.lock).exists():
        return False
    try:
        with process_lock(folder / File.lock, timeout_s=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def read_pictures(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Which cases of a run are shown in which files: entries of `figures` (overlays) and `strips`.

    Each names its `file` (relative to the run folder), the `rule` that chose the case, `case_id`, `group` and `dsc`.
    Version 0.1.0 kept them in `summary.json`.
    """
    found = _readable(folder / File.pictures) or _readable(folder / File.summary) or {}
    return {kind: found.get(kind, []) for kind in ("figures", "strips")}


def read_undrawn(folder: Path) -> dict[str, str]:
    """Why chosen cases of a run have no picture, by id."""
    found = (_readable(folder / File.pictures) or {}).get("undrawn", {})
    return {str(name): str(reason) for name, reason in found.items()} if isinstance(found, dict) else {}


_MARKS = {File.summary, File.status, File.manifest, File.cases}

_STUDY_MARKS = {File.study, File.tuning_images}

_STUDY_KEYS = {
    "tuning": {"study", "dataset", "trials", "best", "images", "winner"},
    "experiment": {"name", "command", "data", "notes", "tables", "figures", "counters", "environment", "seconds"},
}


@dataclass(frozen=True)
class RunFolder:
    """One run as its folder tells it.

    Attributes:
        folder: where it lies.
        label: what it is.
        why: one sentence for any label but `finished` and `running`.
        summary: of a finished run, else empty.
        manifest: empty if there is none that can be read.
        records: of its own cases those that can be read, in the order of the data; of a run of an earlier version,
            which has no list of them, all that are there, by file name.
        unreadable: case files that cannot.
        pictures: of a finished run (`read_pictures`).
        undrawn: why chosen cases have none (`read_undrawn`).
    """

    folder: Path
    label: State
    why: str
    summary: Mapping[str, Any]
    manifest: Mapping[str, Any]
    records: tuple[CaseRecord, ...]
    unreadable: int
    pictures: Mapping[str, Sequence[Mapping[str, Any]]]
    undrawn: Mapping[str, str] = field(default_factory=dict)

    @property
    def resumable(self) -> bool:
        """Whether its own command with resume=true continues it."""
        return self.label is not State.running and is_unfinished(self.folder) and not is_part(self.folder)


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
    def label(self) -> State:
        """Finished, running, or what became of it."""
        if in_use(self.folder):
            return State.running
        if self.content:
            return State.finished
        return State.damaged if (self.folder / File.study).exists() else State.interrupted


def find_runs(outputs: Path) -> list[RunFolder]:
    """Every run below a folder, the newest name first."""
    return [read_run(folder) for folder in run_folders(outputs)]


def run_folders(outputs: Path) -> list[Path]:
    """Where runs lie below a folder, the newest name first."""
    found = [folder for folder, names in _walk(outputs) if _is_run(folder, names, outputs)]
    return sorted(found, key=lambda each: (each.name, str(each)), reverse=True)


def find_studies(outputs: Path) -> list[StudyFolder]:
    """Every tuning study and every experiment below a folder, by name."""
    found = [folder for folder, names in _walk(outputs) if names & _STUDY_MARKS or _is_experiment(folder, outputs)]
    return [read_study(folder, outputs) for folder in sorted(found)]


def read_study(folder: Path, outputs: Path) -> StudyFolder:
    """What can be read of one study below `outputs`."""
    content = _readable(folder / File.study) or {}
    # By what it says, too: hydra.run.dir may put an experiment anywhere.
    kind = "experiment" if _is_experiment(folder, outputs) or content.get("kind") == "experiment" else "tuning"
    whole = set(content) >= _STUDY_KEYS[kind] and _is_of(content, read_identity(folder))
    return StudyFolder(folder, kind, content if whole else {})


def _is_of(content: Mapping[str, Any], identity: Identity | None) -> bool:
    """Whether `study.json` is of what its folder is of; earlier versions do not say what that is."""
    if identity is None:
        return True
    if identity.kind == "experiment":
        return bool(content["name"] == identity.of["experiment"] and content["data"] == identity.of["data"])
    return bool(content["study"] == identity.of["study"] and content["images"] == identity.cases)


def _walk(outputs: Path) -> Iterator[tuple[Path, set[str]]]:
    """Folders with the names in them; of what lies in a run folder, only the study that it was tuned by."""
    for place, inner, files in os.walk(outputs):
        names = {*inner, *files}
        if _is_run(Path(place), names, outputs):
            inner[:] = [name for name in inner if name == File.own_study]
        yield Path(place), names


def _is_run(folder: Path, names: set[str], outputs: Path) -> bool:
    return bool(_MARKS & names) and not names & _STUDY_MARKS and not _is_experiment(folder, outputs)


def _is_experiment(folder: Path, outputs: Path) -> bool:
    return folder.parent == outputs / File.experiments


def read_run(folder: Path) -> RunFolder:
    """What can be read of one run folder; whatever cannot be makes it `damaged`."""
    summary, manifest = _readable(folder / File.summary), _manifest(folder)
    records, unreadable, missing = _records(folder)
    label, why = _label(folder, summary, manifest)
    if unreadable and label in (State.finished, State.killed, State.interrupted):
        label, why = State.damaged, f"{many(unreadable, 'case file')} cannot be read"
    elif missing and label is State.finished:
        label, why = State.damaged, f"{missing} of its cases are missing, or were made from something else"
    elif label is State.finished and records and all(each.failed for each in records):
        label, why = State.failed, f"all of its {len(records)} cases failed, the first by: {records[0].message}"
    usable = summary if label is State.finished else None
    drawn = read_pictures(folder) if usable else {"figures": [], "strips": []}
    undrawn = read_undrawn(folder) if usable else {}
    return RunFolder(folder, label, why, usable or {}, manifest or {}, records, unreadable, drawn, undrawn)


def _label(folder: Path, summary: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None) -> tuple[State, str]:
    status = _read_status(folder)
    state = status.get("state")
    workers = at_work(folder)
    if state != State.finished and (in_use(folder) or workers):
        return State.running, f"{many(len(workers), 'worker')} at work" if workers else ""
    if (folder / File.summary).exists():
        label, why = _finished(summary, manifest)
        left = label is State.finished and not is_complete(folder) and not in_use(folder)
        return label, f"it ended before its page was written{_way_on(folder)}" if left else why
    if state in (State.failed, State.interrupted):
        after = f"after {status['done']} cases" if "done" in status else ""
        return State(state), (str(status.get("message") or after) + _way_on(folder)).removeprefix("; ")
    if state == State.waiting:
        return State.waiting, "its workers are in a queue, and none has begun"
    if state == State.running and read_plan(folder) is not None:
        return State.killed, f"no worker is at work in it{_way_on(folder)}"
    if state == State.running:
        gone = f"process {status.get('pid', '?')} on {status.get('host', '?')} is gone"
        return State.killed, gone + _way_on(folder)
    return State.damaged, "status.json and summary.json are missing or cannot be read"


def _way_on(folder: Path) -> str:
    on = way_on(Task.run, folder)
    return f"; {on}" if on else ""


def _finished(summary: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None) -> tuple[State, str]:
    if summary is None:
        return State.damaged, "summary.json cannot be read"
    if summary.get("version") != VERSION:
        return State.damaged, f"summary.json is of version {summary.get('version')}, this program reads {VERSION}"
    if not is_whole_summary(summary) or manifest is None:
        return State.damaged, "summary.json or manifest.json is not whole"
    return State.finished, ""


def is_whole_summary(summary: Mapping[str, Any]) -> bool:
    """Whether a summary has all that pages show of it."""
    if not {"overall", "groups", "notes", "networks", "definitions", "confidence"} <= set(summary):
        return False
    try:
        return all(is_whole(part) for part in (summary["overall"], *summary["groups"].values()))
    except (TypeError, AttributeError, KeyError):
        return False


def _manifest(folder: Path) -> dict[str, Any] | None:
    manifest = _readable(folder / File.manifest)
    if manifest is None or not {"command", "commit", "data"} <= set(manifest):
        return None
    return manifest if isinstance(manifest["data"], dict) and "n_used" in manifest["data"] else None


def _records(folder: Path) -> tuple[tuple[CaseRecord, ...], int, int]:
    """The records of a run, how many files cannot be read, and how many cases have none, or one of another run."""
    identity = read_identity(folder)
    if identity is None or identity.kind != "run":  # of an earlier version
        paths = sorted((folder / File.cases).glob("[!.]*.json"))
    else:
        paths = [path for each in identity.cases if (path := record_path(folder, each)).exists()]
    records, unreadable = [], 0
    for path in paths:
        try:
            records.append(read_record(path))
        except StaleRecord:
            unreadable += 1
    if identity is None or identity.kind != "run":
        return tuple(records), unreadable, 0
    own = [each for each in records if each.failed or each.key == record_key(identity, each.fingerprint)]
    return tuple(own), unreadable, len(identity.cases) - unreadable - len(own)
