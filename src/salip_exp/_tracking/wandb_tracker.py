"""The other end of `wandb_process`: started, told, heard, and ended, without ever waiting for longer than is said."""

from __future__ import annotations

import json
import logging
import pickle
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO

from rich.text import Text
from tqdm import tqdm

from salip_exp._console import shown, wide_console
from salip_exp._environment import NETWORK, PYTHON, environment_of_children
from salip_exp._tracking.events import End, Event
from salip_exp._tracking.wandb_process import DONE, FAILED, IMPORTED, READY
from salip_exp.config import TrackerConfig, TrackerMode

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
        program = [sys.executable, "-m", "salip_exp._tracking.wandb_process"]
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
    found = environment_of_children(PYTHON, NETWORK, ("WANDB_*", "NETRC"))
    found.pop("WANDB_SERVICE", None)  # the service of a wandb run around this one would outlive the process
    return found | own


log = logging.getLogger(__name__)

LOCAL_S = 30.0  # for each step that needs no server: starting Python with wandb, opening a run, writing its files
_WITHOUT = "the run goes on without it"


class WandbTracker:
    """Passes events on in the background; whatever goes wrong is one line on stderr and in run.log.

    In mode `online` a server that refuses, fails half-way or does not answer within `patience_s` means `offline`: all
    that was told is told again to a run in the run folder, which `wandb sync` sends.
    """

    def __init__(self, config: TrackerConfig, folder: Path) -> None:
        self.config, self.folder = config, folder.absolute() / "wandb"
        self._waiting: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._taken: list[Event] = []
        self._thread: threading.Thread | None = None
        self._ended = False

    def tell(self, events: Iterable[Event]) -> None:
        """Take events; the first starts the process."""
        if self._ended:
            return
        try:
            for event in events:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="wandb", daemon=True)
                    self._thread.start()
                self._waiting.put(event)
        except Exception as error:  # of the code that makes events: a view of the run must not end it
            log.exception("the tracker could not be told")
            self._ended = self._thread is None  # without a start there is nobody to tell more
            self._warn(f"is not told all ({type(error).__name__}: {error})")

    def end(self, exit_code: int) -> None:
        """Let wandb write or send what it has, for as long as patience lasts: every step has its limit."""
        if self._ended:
            return
        self._ended = True
        if self._thread is not None:
            self._waiting.put(End(exit_code))
            self._thread.join()
        for kept in sorted(self.folder.glob("offline-*"))[-1:] if self.config.mode is TrackerMode.offline else ():
            wide_console().print(Text(f"wandb       wandb sync {shlex.quote(str(shown(kept)))}"))

    def _serve(self) -> None:
        modes = [TrackerMode.online, TrackerMode.offline]
        for mode in modes[modes.index(self.config.mode) :]:
            try:
                child = Child(self.folder, mode, self.config.patience_s)
            except OSError as error:
                self._warn(f"cannot be started ({error}): {_WITHOUT}")
                return
            try:
                if self._served(child, mode):
                    return
            finally:
                child.kill()

    def _served(self, child: Child, mode: TrackerMode) -> bool:
        """Whether the process took all events, or another has no better chance."""
        limit = self.config.patience_s if mode is TrackerMode.online else LOCAL_S
        events = self._all()
        child.send(next(events))
        word, why = child.hear(LOCAL_S)
        if word != IMPORTED:
            self._warn(f"cannot be used ({why}): {_WITHOUT}; pip install wandb, or tracker=none")
            return True
        word, why = child.hear(limit)
        if word == READY:
            for event in events:
                child.send(event)
                if not child.alive:
                    break
            word, why = child.hear(limit)
        if word == DONE:
            return True
        otherwise = (
            _WITHOUT if mode is TrackerMode.offline else f"offline instead, `wandb sync {self.folder}/offline-*`"
        )
        self._warn(f"{mode}: {why}; {otherwise}")
        return False

    def _all(self) -> Iterator[Event]:
        """Every event from the first to the last, those to come too."""
        for event in chain(tuple(self._taken), self._fresh()):
            yield event
            if isinstance(event, End):
                return

    def _fresh(self) -> Iterator[Event]:
        while True:
            event = self._waiting.get()
            if self.config.mode is TrackerMode.online:
                self._taken.append(event)  # for the run offline, should it come to that
            yield event

    def _warn(self, said: str) -> None:
        line = " ".join(f"warning: wandb {said}".split())
        log.warning(line)
        tqdm.write(line, file=sys.stderr)  # above a progress bar, where there is one
