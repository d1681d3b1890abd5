"""Work in chunks that fit in memory: where they do not, the chunk is halved, and it is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Part = TypeVar("Part")


@dataclass
class Limit:
    """How many of something are computed at once.

    Attributes:
        what: in the plural, for the message.
        size: at most so many; halved for good when memory does not suffice.
    """

    what: str
    size: int

    def halve(self) -> None:
        """Take half as many from here on, and say so."""
        self.size = max(1, self.size // 2)
        log.warning("out of memory: %s are computed %d at a time from here on", self.what, self.size)


def in_chunks(total: int, limit: Limit, work: Callable[[int, int], Part]) -> Iterator[Part]:
    """`work(start, stop)` over all of `range(total)`, in order; a chunk that runs out of memory is done in halves.

    Raises:
        Exception: any error of `work` but a lack of memory, and that too where one alone is too much.
    """
    start = 0
    while start < total:
        stop = min(start + limit.size, total)
        try:
            part = work(start, stop)
        except Exception as error:
            if not out_of_memory(error) or limit.size == 1:
                raise
            limit.halve()
            continue
        yield part
        start = stop


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice; on a CPU torch says so by a plain RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
