"""Who else is told how a run goes. A tracker is never in the way: it does not raise, and waits only so long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from salip_exp.config import Config, TrackerMode, TrackerName
from salip_exp.errors import SalipError
from salip_exp.tracking.events import Event


class Tracker(Protocol):
    """Hears of a run."""

    def tell(self, events: Iterable[Event]) -> None:
        """Take events, the first of all a Start; making them may cost something, so they may come from a generator."""
        ...

    def end(self, exit_code: int) -> None:
        """The run is over; what is told after the first end is not heard."""
        ...


class NoTracker:
    """Hears nothing, and so asks for nothing to be made."""

    def tell(self, events: Iterable[Event]) -> None:
        """Leave the events unmade."""

    def end(self, exit_code: int) -> None:
        """Nothing to end."""


def open_tracker(config: Config, folder: Path) -> Tracker:
    """The configured tracker; what it keeps itself goes below the run folder."""
    if config.tracker.name is TrackerName.none or config.tracker.mode is TrackerMode.disabled:
        return NoTracker()
    from salip_exp.tracking.wandb_tracker import WandbTracker

    return WandbTracker(config.tracker, folder)


@contextmanager
def tracking(config: Config, folder: Path) -> Iterator[Tracker]:
    """The configured tracker for a `with` block; however the block ends, so does the run in the tracker's eyes."""
    tracker = open_tracker(config, folder)
    try:
        yield tracker
    except BaseException as error:
        tracker.end(error.exit_code if isinstance(error, SalipError) else 1)
        raise
    tracker.end(0)
