"""What a command prints: its console, and how far it is."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from salip_exp._secrets import hidden

_LINES = 10  # plain lines of progress over all items, besides one a minute


class _Words:
    """A stream that costs words and nothing else: what it cannot spell is escaped; once it is closed, full or broken,
    what it is told is lost. All that prints goes through `sys.stdout` and `sys.stderr`: rich, tqdm, logging, warnings.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lost = stream, False
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Pass the text on, while that can be done; its length."""
        self._try(lambda: self._stream.write(hidden(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Pass the lines on."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Have it written what was passed on."""
        self._try(self._stream.flush)

    def _try(self, what: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            what()
        except (OSError, ValueError):  # ValueError: somebody closed it
            self._lost = True
            with suppress(OSError, ValueError):  # what is still in its buffer, at the end of the process
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def only_words() -> None:
    """Make stdout and stderr streams that end no computation, whatever they lead to.

    A process that was started with a closed stream gets one that leads nowhere, before a file takes its number: what a
    library prints would be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (until the end)
        setattr(sys, name, stream if isinstance(stream, _Words) else _Words(stream))


def wide_console() -> Console:
    """Stdout; wide enough for a whole row where it is not a terminal, so that nothing is cut in a file."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=160)


def table(title: str, *heads: str, numbers: Container[str] = ()) -> Table:
    """An empty table in the one style of all commands: its title above, numbers right and words left.

    Args:
        title: as it is; nothing in it is markup.
        heads: of its columns.
        numbers: heads of columns of numbers.
    """
    result = Table(title=Text(title), title_justify="left", caption_justify="left")
    for head in heads:
        result.add_column(Text(head), justify="right" if head in numbers else "left", overflow="fold")
    return result


def shown(path: Path) -> str:
    """A path as short as it can be given from here."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def said_late(seconds: float, for_what: str) -> Iterator[None]:
    """Say on stderr for what is waited, where the block takes longer."""
    late = Timer(seconds, lambda: sys.stderr.write(f"waiting for {for_what}\n"))
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


class Report(Protocol):
    """Hears of every finished item."""

    def __call__(self, said: str, new: bool = True) -> None:
        """Take what is to be said by now, and whether the item was done just now or was there already."""


@contextmanager
def progress(total: int, visible: bool, unit: str) -> Iterator[Report]:
    """Yield what to call with every finished item: a bar with rate and time left on a terminal, elsewhere a plain line
    now and then, and nothing unless `visible`. All goes to stderr.

    Args:
        total: number of items.
        unit: what an item is, in the singular.
    """
    if not visible:
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
        reached = self.done * _LINES // self.total > (self.done - 1) * _LINES // self.total
        if not reached and now - self.last < 60:
            return
        self.last = now
        rate = (now - self.start) / (self.done - self.old)
        left = rate * (self.total - self.done)
        self.console.print(f"{self.done}/{self.total} {self.unit}s, {rate:.2f} s each, {left:.0f} s left, {said}")
