"""The words of the cache: what an entry is, which stages have entries, and what is counted."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
"""What an entry holds: named arrays of numbers or truth values, of any shape."""

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = frozenset(["bool", *INTEGERS, "float16", "float32", "float64"])

_counting = threading.Lock()


class Stage(StrEnum):
    """What is kept; the values are names of folders."""

    embedding = "embedding"  # of crop boxes, by SAM's encoder
    table = "table"  # candidates before suppression
    clean = "clean"  # masks after the clean-up of small regions
    view = "view"  # embeddings of views, by CLIP
    text = "text"  # prototypes
    organ = "organ"  # masks of box prompts


@dataclass
class Tally:
    """What one stage asked of the cache.

    Attributes:
        hits_memory: entries found in memory.
        hits_disk: entries found on disk.
        misses: entries found nowhere, and so computed.
        rows_found: rows found in entries that grow row by row.
        rows_missing: rows computed and added to such entries.
        bytes_read: from files.
        bytes_written: to files.
        damaged: files that were not what was written, and were removed.
        unwritten: entries that the disk did not take.
        seconds: spent on files: reading, checking, writing; neither computing nor waiting for others.
    """

    hits_memory: int = 0
    hits_disk: int = 0
    misses: int = 0
    rows_found: int = 0
    rows_missing: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    damaged: int = 0
    unwritten: int = 0
    seconds: float = 0.0

    def count(self, **by: float) -> None:
        """Add to what is named; safe in threads."""
        with _counting:
            for name, amount in by.items():
                setattr(self, name, getattr(self, name) + amount)


def tallies() -> dict[Stage, Tally]:
    """A tally of zeros for each stage."""
    return {stage: Tally() for stage in Stage}


def freeze(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays as an entry may hold them: in one piece, in the machine's byte order, and read-only from here on.

    An entry is handed to many without a copy, so what nobody else can change is frozen as it is, and a view of
    something that can change (a slice, a tensor's memory) is copied.

    Raises:
        TypeError: an array of something else than numbers and truth values.
    """
    return {name: _frozen(name, np.asarray(array)) for name, array in arrays.items()}


def _frozen(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name not in DTYPES:
        raise TypeError(f"{name} holds {array.dtype}: the cache keeps numbers and truth values only")
    if not array.flags.c_contiguous or not array.dtype.isnative or (array.flags.writeable and not array.flags.owndata):
        array = np.array(array, array.dtype.newbyteorder("="), order="C")
    array.flags.writeable = False
    return array
