"""`status.json`: what a run is doing, or how it ended."""

from __future__ import annotations

import json
import os
import platform
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from salip_exp.files import from_json, read_small
from salip_exp.running.files import atomic_write

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
