"""Seconds and peak memory: of the parts of a run, and of the stages of a case."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    import resource
except ImportError:  # Windows keeps no such account
    resource = None  # type: ignore[assignment]

_MIB = 2**20


class Stopwatch:
    """Seconds by stage; a stage entered again adds to what it had."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the `with` block for the stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Parts:
    """What each part of a run took, in the order of the parts.

    Attributes:
        taken: by part: `seconds`, and `peak_mib`, the most memory the process had held by its end (None where the
            system does not say); with a GPU in use also `gpu_peak_mib`.
    """

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, float | None]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what the `with` block takes, also if it fails."""
        watch = Stopwatch()
        try:
            with watch.stage(name):
                yield
        finally:
            self.taken[name] = {"seconds": round(watch.seconds[name], 3), "peak_mib": _peak(), **_gpu_peak()}


def _peak() -> float | None:
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (_MIB if sys.platform == "darwin" else 1024), 1)


def _gpu_peak() -> dict[str, float]:
    torch: Any = sys.modules.get("torch")  # not imported for this: without it no GPU is in use
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"gpu_peak_mib": round(torch.cuda.max_memory_allocated() / _MIB, 1)}
