"""The other end of `wandb_process`: started, told, heard, and ended, without ever waiting for longer than is said."""

from __future__ import annotations

import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from salip_exp.config import TrackerMode
from salip_exp.tracking.events import Event
from salip_exp.tracking.wandb_process import FAILED

LOG = "tracker.log"


class Child:
    """The process of one wandb run, with a thread that writes to it and one that reads from it.

    Args:
        folder: for its log, and for what wandb would otherwise keep below the user's home.
        mode: of wandb.
        patience_s: for the server.

    Raises:
        OSError: the folder cannot be written, or no process can be started.
    """

    def __init__(self, folder: Path, mode: TrackerMode, patience_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        printed = folder / LOG
        program = [sys.executable, "-m", "salip_exp.tracking.wandb_process"]
        with printed.open("ab") as written:
            self._process = subprocess.Popen(
                [*program, mode.value, str(patience_s), str(printed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=written,
                env=environment(folder),
                start_new_session=True,  # Ctrl-C is for the run, which then ends this in order
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._outbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._write, args=(self._process.stdin,), name="to wandb", daemon=True),
            threading.Thread(target=self._read, args=(self._process.stdout,), name="from wandb", daemon=True),
        ]
        for each in self._threads:
            each.start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def send(self, event: Event) -> None:
        """Have an event passed on, as soon as the process takes it."""
        self._outbox.put(event)

    def hear(self, timeout_s: float) -> tuple[str, str]:
        """The next word of the process, and a reason where it failed or was silent for too long."""
        try:
            return self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return FAILED, f"no answer within {timeout_s:g} s"

    def kill(self) -> None:
        """End the process at once, if it has not ended; wandb's service follows it."""
        self._process.kill()
        self._process.wait()
        self._outbox.put(None)
        for each in self._threads:
            each.join()

    def _write(self, stream: IO[bytes]) -> None:
        with suppress(OSError), stream:  # the process may end at any moment; then nothing more is to be said
            for event in iter(self._outbox.get, None):
                pickle.dump(event, stream)
                stream.flush()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                word, why = json.loads(line)
                self._inbox.put((word, why))
        self._inbox.put((FAILED, f"its process ended with code {self._process.wait()}"))


def environment(folder: Path) -> dict[str, str]:
    """The environment of the process: wandb writes below the folder, and reports nothing about itself to its makers.

    Args:
        folder: for its caches.
    """
    own = {
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_ERROR_REPORTING": "false",
    }
    # The service of a wandb run around this one would outlive the process.
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"} | own
