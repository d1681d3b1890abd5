"""How far a command is: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from tqdm import tqdm

LINES = 10  # plain lines over all items, besides one a minute


class Report(Protocol):
    """Hears of every finished item."""

    def __call__(self, said: str, new: bool = True) -> None:
        """Take what is to be said by now, and whether the item was done just now or was there already."""


@contextmanager
def progress(total: int, shown: bool, unit: str) -> Iterator[Report]:
    """Yield what to call with every finished item; nothing appears unless `shown`. All goes to stderr.

    Args:
        total: number of items.
        unit: what an item is, in the singular.
    """
    if not shown:
        yield lambda said, new=True: None
    elif sys.stderr.isatty():
        with tqdm(total=total, unit=unit, dynamic_ncols=True) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(total, unit)


class _Bar:
    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar = bar

    def __call__(self, said: str, new: bool = True) -> None:
        self.bar.set_postfix_str(said, refresh=False)
        self.bar.update()
        if not new:
            self.bar.initial += 1  # what was there already says nothing about the rate


class _Lines:
    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit, self.done, self.old = total, unit, 0, 0
        self.start = self.last = time.monotonic()
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def __call__(self, said: str, new: bool = True) -> None:
        self.done += 1
        now = time.monotonic()
        if not new:
            self.old += 1
            return
        reached = self.done * LINES // self.total > (self.done - 1) * LINES // self.total
        if not reached and now - self.last < 60:
            return
        self.last = now
        rate = (now - self.start) / (self.done - self.old)
        left = rate * (self.total - self.done)
        self.console.print(f"{self.done}/{self.total} {self.unit}s, {rate:.2f} s each, {left:.0f} s left, {said}")
