"""The process that a run lives in: signals that stop it, and settings that make networks faster and change no bit."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of glibc's `mallopt`, from malloc.h."""
_PAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next layer, instead of giving it back and asking for fresh pages.

    Every large tensor is otherwise mapped anew and its pages faulted in one by one, which costs up to a half of a
    forward on a CPU, the more the larger its tensors (`benchmarks/allocator.py`).

    Returns:
        Whether the allocator is glibc's and took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no such function
        return False
    return all(mallopt(name, value) for name, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, _PAD)))


CODES = {
    getattr(signal, name): 128 + getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # the last two are a queue's notice before it ends a job
    if hasattr(signal, name)
}
"""Exit codes of signals that stop a command."""


class Stop:
    """Whether to stop after the case at hand.

    Attributes:
        code: exit code of the signal that came, None while none has.
    """

    def __init__(self) -> None:
        self.code: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second one stops at once."""
        if self.code is None:
            self.code = CODES[signal.Signals(number)]
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(CODES[signal.Signals(number)])


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn signals (`CODES`) into a wish, inside the `with` block; only the main thread gets any."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in CODES}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
