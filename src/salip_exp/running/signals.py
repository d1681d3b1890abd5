"""Stopping a run: the first signal lets the case at hand finish, the second does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


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
        elif number == signal.SIGTERM:
            raise SystemExit(CODES[signal.SIGTERM])
        else:
            raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a wish, inside the `with` block and in the main thread (others get no signals)."""
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
