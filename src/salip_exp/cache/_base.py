"""The words of the cache: stages, keys, what an entry is, and what is counted."""

from __future__ import annotations

import hashlib
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
"""What an entry holds: named arrays of numbers or truth values, of any shape."""

_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = frozenset(["bool", *_INTEGERS, "float16", "float32", "float64"])

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


Part = bytes | str | int | float | bool | None | Sequence[Any] | NDArray[Any]

_SIZE = 20
"""Bytes of a digest: a collision by chance would need some 2**80 entries."""
_PLAIN_TYPES = (str, bool, int, float, bytes, bytearray, memoryview, type(None))


def content_key(*parts: Part) -> str:
    """Hex digest over parts that are told apart by type and by length.

    `("a", "bc")` and `("ab", "c")` differ, and so do 1, "1", 1.0 and True; a tuple equals the list of the same
    parts. Arrays count by dtype, shape and values in C order; numpy's scalars are arrays without dimensions.

    Returns:
        40 characters 0-9a-f.

    Raises:
        TypeError: a part whose value has no lasting bytes, such as a set, a mapping, or an array of objects.
    """
    digest = hashlib.blake2b(digest_size=_SIZE)
    for part in parts:
        for piece in _pieces(part):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(part: Part) -> Iterator[bytes]:
    """A part as bytes that no other part's bytes begin with: a letter for its type, its length, its value."""
    if isinstance(part, (np.ndarray, np.generic)):  # first: a float64 of numpy is a float, too
        yield from _array(np.asarray(part))
    elif isinstance(part, _PLAIN_TYPES):
        letter, value = _scalar(part)
        yield _headed(letter, len(value)) + value
    elif isinstance(part, Sequence):
        yield _headed(b"l", len(part))
        for each in part:
            yield from _pieces(each)
    else:
        raise TypeError(
            f"a key cannot be made of {type(part).__name__}: give bytes, text, numbers, arrays, lists of them"
        )


def _scalar(part: Any) -> tuple[bytes, bytes]:
    match part:
        case None:
            return b"n", b""
        case bool():  # before int, which it is a kind of
            return b"t", bytes([part])
        case int():
            return b"i", part.to_bytes(part.bit_length() // 8 + 1, "little", signed=True)
        case float():
            return b"f", struct.pack("<d", part)
        case str():
            return b"s", part.encode("utf-8", "surrogatepass")
        case _:
            return b"b", bytes(part)


def _array(array: NDArray[Any]) -> Iterator[bytes]:
    if array.dtype.name not in DTYPES:  # objects are addresses, long doubles hold stray bytes
        raise TypeError(f"a key cannot be made of an array of {array.dtype}: only numbers and truth values have bytes")
    form = array.dtype.str.encode()
    yield _headed(b"a", len(form))
    yield form
    yield struct.pack(f"<q{array.ndim}q", array.ndim, *array.shape)
    yield array.tobytes()


def _headed(letter: bytes, length: int) -> bytes:
    return letter + struct.pack("<q", length)
