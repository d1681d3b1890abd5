"""What a check finds: how bad it is, where, and a sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from salip_exp.errors import SalipError


class Level(StrEnum):
    """What a finding means for the run."""

    ok = "ok"
    warn = "warn"  # the run goes on, and the finding spoils or slows it
    error = "error"  # the run stops, or cases fail


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: how bad it is.
        area: what was looked at: settings, text, folders, weights, device, tracker, data or disk.
        said: one sentence: what, where, and what to do.
        exit_code: of the run that meets it; 0 unless it is an error.
    """

    level: Level
    area: str
    said: str
    exit_code: int = 0


def fine(area: str, said: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.ok, area, said)


def warning(area: str, said: str) -> Finding:
    """Something that a run goes on with."""
    return Finding(Level.warn, area, said)


def failure(area: str, error: SalipError) -> Finding:
    """What a run would end with, in the words and with the exit code that it would use."""
    return Finding(Level.error, area, " ".join(str(error).split()), error.exit_code)
