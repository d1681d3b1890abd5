"""Output folders while they are written: claimed by one process, with a status, and no file ever half there."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import Timeout

from salip_exp.errors import EnvironmentFault
from salip_exp.files import atomic_write, from_json, process_lock, read_small
from salip_exp.settings.folders import File


class State(StrEnum):
    """Where a run stands; one that was killed still says `running`, and holds no lock any more."""

    running = "running"
    finished = "finished"
    failed = "failed"
    interrupted = "interrupted"


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


def read_status(folder: Path) -> dict[str, Any]:
    """The last status that was written; empty if there is none that can be read."""
    return read_json(folder / File.status) or {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that every reader takes: NaN is refused, since no figure of a run may be one.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    atomic_write(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is absent or is no such thing."""
    try:
        content = from_json(read_small(path))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Make the run folder, prove that it can be written, and keep every other run out of it.

    Raises:
        EnvironmentFault: it cannot be written, or another process is at work in it.
    """
    lock = process_lock(folder / File.lock, timeout_s=0)
    try:
        _probe(folder)
        lock.acquire()
    except Timeout as error:
        owner = read_status(folder)
        raise EnvironmentFault(
            f"{folder} is in use by process {owner.get('pid', '?')} on {owner.get('host', '?')}: "
            "wait for it, or choose another folder by hydra.run.dir=DIR"
        ) from error
    except OSError as error:
        raise EnvironmentFault(
            f"the run folder {folder} cannot be written ({error}): choose another place by outputs=DIR"
        ) from error
    try:
        yield
    finally:
        # Unlinked while held: whoever opened it before gets a file that is no longer the lock, and notices.
        with suppress(OSError):
            (folder / File.lock).unlink()
        lock.release()


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


def _probe(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(b"room for a byte")


def read_pictures(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Which cases of a run are shown in which files: entries of `figures` (overlays) and `strips`.

    Each names its `file` (relative to the run folder), the `rule` that chose the case, `case_id`, `group` and `dsc`.
    Version 0.1.0 kept them in `summary.json`.
    """
    found = read_json(folder / File.pictures) or read_json(folder / File.summary) or {}
    return {kind: found.get(kind, []) for kind in ("figures", "strips")}
