"""Workers as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from salip_exp._engines._program import last_line
from salip_exp._engines.base import RUNNING, Command, ended, environment_of_workers
from salip_exp.config import ExecutorConfig

GRACE_S = 60.0
"""For the case at hand of a worker that is asked to end."""


class Processes:
    """Starts each worker in a process group of its own, which ends with this process."""

    how_to_look = "ps -fp PROCESS"
    how_to_stop = "kill PROCESS"

    def __init__(self, config: ExecutorConfig) -> None:
        self.config = config

    def start(self, commands: Sequence[Command], logs: Path) -> _Processes:
        """Start the workers; each sees one of `executor.gpus`, in turn, or all GPUs where none are named."""
        logs.mkdir(parents=True, exist_ok=True)
        paths = [logs / f"worker-{number}.log" for number in range(len(commands))]
        started = [self._start(number, each, paths[number]) for number, each in enumerate(commands)]
        return _Processes(started, paths)

    def _start(self, number: int, command: Command, log: Path) -> subprocess.Popen[bytes]:
        gpus = self.config.gpus
        one = {"CUDA_VISIBLE_DEVICES": str(gpus[number % len(gpus)])} if gpus else {}
        return open_worker(command, log, environment_of_workers() | one)


def open_worker(command: Command, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A worker in a process group of its own, which keys pressed for this process do not reach, and which ends with it.

    Args:
        log: what it prints is added to this file.
        environment: its variables.
    """
    tie = ["-m", "salip_exp._engines._tied", str(os.getpid())]
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, *tie, *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a worker to end and wait for it; it is killed, with what it has started, where it takes too long."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Processes:
    """The crew; its ids are process ids."""

    def __init__(self, started: Sequence[subprocess.Popen[bytes]], logs: Sequence[Path]) -> None:
        self._started = {str(each.pid): each for each in started}
        self._logs = dict(zip(self._started, logs, strict=True))

    @property
    def ids(self) -> Sequence[str]:
        return list(self._started)

    def states(self) -> Mapping[str, str]:
        codes = {id: each.poll() for id, each in self._started.items()}
        return {id: RUNNING if code is None else ended(code) for id, code in codes.items()}

    def last_line(self, id: str) -> str:
        return last_line(self._logs[id])

    def stop(self) -> None:
        left = [each for each in self._started.values() if each.poll() is None]
        for each in left:
            each.terminate()
        for each in left:
            end(each)
