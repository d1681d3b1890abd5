"""Folders, stores and processes for the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def worker(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    """The program of `start`, as a module."""
    return module_at(Path(__file__).with_name("worker.py"))


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a worker: role, folder, log, seed; `before` is a command that runs it. What still runs is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(role: str, folder: Path, log: Path, seed: int = 0, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        program = [sys.executable, str(Path(__file__).with_name("worker.py")), role, str(folder), str(log), str(seed)]
        # Coverage of a process that loses its disk cannot be written either, and its complaint is not the cache's.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
        process = subprocess.Popen(
            [*before, *program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder.parent,
            env=environment,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()
