"""A command run inside a process that something else has started, its exit code for others, and the end of its log."""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from salip_exp._files import write_bytes

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
_TAIL = 8192
"""Bytes from a log's end that hold its last line."""
_NOT_ITS_OWN = "submitit "
"""How lines of a log begin that the engine wrote, and no worker."""


def run(command: Sequence[str]) -> int:
    """Run `-m MODULE ARGUMENTS...` in this process, as the interpreter would, and put back how it answers signals.

    Returns:
        Its exit code.
    """
    _, module, *arguments = command
    sys.argv = [module, *arguments]
    with own_signals():
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def own_signals() -> Iterator[None]:
    """Whatever is called in the `with` block, this process answers signals afterwards as before."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_code(path: Path, code: int) -> None:
    """Keep the exit code of a worker where whoever asks for it looks."""
    write_bytes(path, f"{code}\n".encode())


def read_code(path: Path) -> int | None:
    """The exit code that a worker has left; None while there is none."""
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def last_line(log: Path) -> str:
    """The last line of a log that the worker wrote itself, or SLURM about its end; empty where there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL))
            lines = stream.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    except OSError:
        return ""
    return next((each.strip() for each in reversed(lines) if each.strip() and not each.startswith(_NOT_ITS_OWN)), "")
