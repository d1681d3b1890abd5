"""How far a run is: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from tqdm import tqdm

from salip_exp.running.records import CaseRecord

LINES = 10  # plain lines over a whole run, besides one a minute


class Report(Protocol):
    """Takes a case that is finished."""

    def __call__(self, record: CaseRecord) -> None: ...


@contextmanager
def progress(total: int, shown: bool) -> Iterator[Report]:
    """Yield what to call with every finished case; nothing appears unless `shown`. All goes to stderr."""
    if not shown:
        yield lambda record: None
    elif sys.stderr.isatty():
        with tqdm(total=total, unit="case", dynamic_ncols=True) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(total)


class _Mean:
    """DSC so far, over the cases that have one."""

    def __init__(self) -> None:
        self.sum, self.n = 0.0, 0

    def add(self, record: CaseRecord) -> str:
        if record.dsc is not None:
            self.sum, self.n = self.sum + record.dsc, self.n + 1
        return f"mean DSC {self.sum / self.n:.3f} (n={self.n})" if self.n else "no score yet"


class _Bar:
    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar, self.mean = bar, _Mean()

    def __call__(self, record: CaseRecord) -> None:
        self.bar.set_postfix_str(self.mean.add(record), refresh=False)
        self.bar.update()


class _Lines:
    def __init__(self, total: int) -> None:
        self.total, self.done, self.mean = total, 0, _Mean()
        self.start = self.last = time.monotonic()
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def __call__(self, record: CaseRecord) -> None:
        self.done += 1
        mean, now = self.mean.add(record), time.monotonic()
        reached = self.done * LINES // self.total > (self.done - 1) * LINES // self.total
        if not reached and now - self.last < 60:
            return
        self.last = now
        rate = (now - self.start) / self.done
        left = rate * (self.total - self.done)
        self.console.print(f"{self.done}/{self.total} cases, {rate:.2f} s each, {left:.0f} s left, {mean}")
