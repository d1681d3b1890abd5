"""Keys of entries: a digest of all that a result depends on; two different lists of parts never share one."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp.caching.stages import DTYPES

Part = bytes | str | int | float | bool | None | Sequence[Any] | NDArray[Any]

SIZE = 20
"""Bytes of a digest: a collision by chance would need some 2**80 entries."""
PLAIN_TYPES = (str, bool, int, float, bytes, bytearray, memoryview, type(None))


def content_key(*parts: Part) -> str:
    """Hex digest over parts that are told apart by type and by length.

    `("a", "bc")` and `("ab", "c")` differ, and so do 1, "1", 1.0 and True; a tuple equals the list of the same
    parts. Arrays count by dtype, shape and values in C order; numpy's scalars are arrays without dimensions.

    Returns:
        40 characters 0-9a-f.

    Raises:
        TypeError: a part whose value has no lasting bytes, such as a set, a mapping, or an array of objects.
    """
    digest = hashlib.blake2b(digest_size=SIZE)
    for part in parts:
        for piece in _pieces(part):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(part: Part) -> Iterator[bytes]:
    """A part as bytes that no other part's bytes begin with: a letter for its type, its length, its value."""
    if isinstance(part, (np.ndarray, np.generic)):  # first: a float64 of numpy is a float, too
        yield from _array(np.asarray(part))
    elif isinstance(part, PLAIN_TYPES):
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
