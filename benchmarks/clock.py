"""Wall-clock and processor time, of contestants in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Times:
    """Seconds of repeats, by the wall clock and of the processor (all threads of this process)."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add what the `with` block takes as one repeat."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.add(time.perf_counter() - wall, time.process_time() - cpu)

    def add(self, wall: float, cpu: float) -> None:
        """Add a repeat."""
        self.wall.append(wall)
        self.cpu.append(cpu)

    def figures(self, per: float = 1.0) -> dict[str, Any]:
        """Columns of a row: medians and the minimum, divided by `per` where a repeat is of several."""
        return {
            "value": median(self.wall) / per,
            "minimum": min(self.wall) / per,
            "cpu": median(self.cpu) / per,
            "n": len(self.wall),
        }


def in_turn(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Times]:
    """Times of A B C A B C ...: what else the machine does meets all alike."""
    times = {name: Times() for name in contestants}
    for _ in range(repeats):
        for name, work in contestants.items():
            with times[name].measured():
                work()
    return times
