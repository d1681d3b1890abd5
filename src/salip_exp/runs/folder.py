"""`status.json`: what a run is doing, or how it ended."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import Timeout

from salip_exp.errors import EnvironmentFault
from salip_exp.files import atomic_write, from_json, process_lock, read_small

STATUS = "status.json"


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
    atomic_write(folder / STATUS, json.dumps(status, indent=1, allow_nan=False))


def read_status(folder: Path) -> dict[str, Any]:
    """The last status that was written; empty if there is none that can be read."""
    try:
        status = from_json(read_small(folder / STATUS))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


LOCK = ".lock"


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Make the run folder, prove that it can be written, and keep every other run out of it.

    Raises:
        EnvironmentFault: it cannot be written, or another process is at work in it.
    """
    lock = process_lock(folder / LOCK, timeout_s=0)
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
            (folder / LOCK).unlink()
        lock.release()


def in_use(folder: Path) -> bool:
    """Whether a living process holds the folder; False also where that cannot be found out."""
    if not (folder / LOCK).exists():
        return False
    try:
        with process_lock(folder / LOCK, timeout_s=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _probe(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(b"room for a byte")
