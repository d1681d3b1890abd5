"""What all stores have in common: what was asked of them is counted."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salip_exp.caching.stages import Arrays, Stage, Tally, tallies


class Counted(ABC):
    """A store's tallies, and the look that counts a miss."""

    def __init__(self) -> None:
        self.stats: dict[Stage, Tally] = tallies()

    @abstractmethod
    def peek(self, stage: Stage, key: str) -> Arrays | None:
        """The entry, read-only; finding nothing is not counted."""

    def get(self, stage: Stage, key: str) -> Arrays | None:
        """The entry, its arrays read-only; None, counted as a miss, where it is absent or damaged."""
        found = self.peek(stage, key)
        if found is None:
            self.stats[stage].count(misses=1)
        return found
