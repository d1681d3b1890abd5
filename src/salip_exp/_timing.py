"""Seconds and peak memory: of the parts of a run, and of the stages of a case."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows keeps no such account
    resource = None  # type: ignore[assignment]

_MIB = 2**20
_CLEAR = Path("/proc/self/clear_refs")


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
            system does not say). `held_mib` is the most that it held during the part, where the system can forget what
            was held before it, as Linux can, and `gpu_peak_mib` the most that was held on a GPU in use.
    """

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, float | None]] = {}
        self._highest: float | None = None

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what the `with` block takes, also if it fails."""
        watch = Stopwatch()
        _forget_gpu_peak()
        self._highest = _higher(self._highest, _peak())
        forgot = _forget_peak()
        try:
            with watch.stage(name):
                yield
        finally:
            held = _peak()
            self._highest = _higher(self._highest, held)
            own = {"held_mib": held} if forgot else {}
            seconds = round(watch.seconds[name], 3)
            self.taken[name] = {"seconds": seconds, "peak_mib": self._highest, **own, **_gpu_peak()}


def _peak() -> float | None:
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (_MIB if sys.platform == "darwin" else 1024), 1)


def _higher(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _forget_peak() -> bool:
    """Let the system count the most memory from now on; False where it cannot (see proc(5), clear_refs)."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _gpu() -> Any:
    """The GPU's side of torch; None where none is in use."""
    torch: Any = sys.modules.get("torch")  # not imported for this: without it no GPU is in use
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _forget_gpu_peak() -> None:
    if (gpu := _gpu()) is not None:
        gpu.reset_peak_memory_stats()


def _gpu_peak() -> dict[str, float]:
    gpu = _gpu()
    return {} if gpu is None else {"gpu_peak_mib": round(gpu.max_memory_allocated() / _MIB, 1)}
