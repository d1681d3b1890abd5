"""Compute once: an entry, or the rows of one, from the store where they are there, else computed and kept."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from salip_exp.cache._base import Arrays, Stage, freeze
from salip_exp.cache.store import Store

_ROW_KEYS = "row_keys"
"""Name of the array of row keys, which an entry holds beside the caller's arrays."""
_WIDTH = 16
_INDEXED_ROWS = 200_000
"""Rows of all indices kept in memory, some 30 MB."""

_Index = dict[bytes, int]


@dataclass(frozen=True)
class _Rows:
    """Rows by key.

    Attributes:
        arrays: those of the rows, each (m, ...), and `row_keys`, (m, 16) uint8; read-only. Without any row: empty.
        index: row key to position.
    """

    arrays: Arrays
    index: _Index

    def lacks(self, asked: Sequence[bytes]) -> list[int]:
        """Positions of the asked keys that are not there, each key's first, ascending."""
        known = self.index
        if all(name in known for name in asked):
            return []
        firsts = {name: i for i, name in reversed(list(enumerate(asked))) if name not in known}
        return sorted(firsts.values())

    def take(self, asked: Sequence[bytes]) -> Arrays:
        """The rows of keys that are all there, in their order; without a copy where they are the whole table."""
        columns = {name: array for name, array in self.arrays.items() if name != _ROW_KEYS}
        where = [self.index[name] for name in asked]
        if where == list(range(len(self.index))):
            return columns
        return freeze({name: array[np.array(where, np.intp)] for name, array in columns.items()})

    def joined(self, other: _Rows) -> _Rows:
        """The rows of both; of a row in both, this table's.

        Raises:
            ValueError: the arrays of the two do not go together.
        """
        new = [i for name, i in other.index.items() if name not in self.index]
        if not self.index or not new:
            return self if self.index else other
        if _form(self.arrays) != _form(other.arrays):
            raise ValueError(f"rows of {_form(other.arrays)} cannot join rows of {_form(self.arrays)}")
        arrays = {name: np.concatenate([array, other.arrays[name][new]]) for name, array in self.arrays.items()}
        return rows_in(freeze(arrays))


class _Indices:
    """Indices of the tables used last, found by the identity of the array of row keys."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[weakref.ref[NDArray[np.uint8]], _Index]] = OrderedDict()
        self._guard = threading.Lock()

    def of(self, row_keys: NDArray[np.uint8]) -> _Index:
        """Position of every row key."""
        with self._guard:
            known = self._known.get(id(row_keys))
            if known is not None and known[0]() is row_keys:  # else it has the identity of one that is gone
                self._known.move_to_end(id(row_keys))
                return known[1]
        index = {name: i for i, name in enumerate(_keys_as_bytes(row_keys))}
        with self._guard:
            self._keep(row_keys, index)
        return index

    def _keep(self, row_keys: NDArray[np.uint8], index: _Index) -> None:
        # A weak reference: the array may be a view into the whole entry, which memory counts and this does not.
        self._known[id(row_keys)] = weakref.ref(row_keys), index
        self._known.move_to_end(id(row_keys))
        rows = sum(len(each) for _, each in self._known.values())
        while rows > _INDEXED_ROWS and len(self._known) > 1:
            rows -= len(self._known.popitem(last=False)[1][1])


_indices = _Indices()


def rows_in(arrays: Arrays | None) -> _Rows:
    """The table that an entry holds; an empty one where there is no entry."""
    return _Rows(arrays, _indices.of(arrays[_ROW_KEYS])) if arrays else _Rows({}, {})


def _keys_as_bytes(row_keys: NDArray[np.uint8]) -> list[bytes]:
    """Row keys as bytes, which a dictionary can look up.

    Raises:
        ValueError: they are not (n, 16) uint8.
    """
    if row_keys.dtype != np.uint8 or row_keys.ndim != 2 or row_keys.shape[1] != _WIDTH:
        raise ValueError(f"row keys are (n, {_WIDTH}) uint8, not {row_keys.shape} {row_keys.dtype}")
    # Not "S16": that would cut zeros at the end of a key.
    found: list[bytes] = np.ascontiguousarray(row_keys).view(f"V{_WIDTH}").ravel().tolist()
    return found


def _form(arrays: Arrays) -> dict[str, str]:
    shapes = ((name, chain([str(array.dtype)], map(str, array.shape[1:]))) for name, array in sorted(arrays.items()))
    return {name: " ".join(words) for name, words in shapes}


def fetch(store: Store, stage: Stage, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays of an entry, read-only.

    Args:
        store: where to look and keep.
        stage: whose entry.
        key: of `content_key`, over all that the arrays depend on.
        compute: makes the arrays, at most once at a time among all who share the store; it may fetch other stages.
            What it gives is the cache's from then on.
    """
    found = store.peek(stage, key)
    if found is not None:
        return found
    with store.lock(stage, key):
        found = store.get(stage, key)  # another thread or process may have been faster
        if found is None:
            found = freeze(compute())
            store.put(stage, key, found)
    return found


def fetch_rows(
    store: Store,
    stage: Stage,
    key: str,
    row_keys: NDArray[np.uint8],
    compute: Callable[[NDArray[np.int64]], Arrays],
) -> Arrays:
    """Rows of an entry that grows: those not there are computed together, added, and the entry written anew.

    Args:
        store: where to look and keep.
        stage: whose entry.
        key: of `content_key`, over all that every row depends on.
        row_keys: (n, 16) uint8, a digest over what each row depends on beyond that; repetitions are allowed.
        compute: given the positions in `row_keys` of what is missing, (m,), ascending, one for each missing key, and
            m > 0, returns arrays of m rows. None may be called `row_keys`.

    Returns:
        The arrays with n rows in the order asked for, read-only. For n = 0, arrays without rows, or nothing at all
        where there is no entry that would tell their names.

    Raises:
        ValueError: what was computed has not m rows, or does not go together with the rows of the entry.
    """
    asked = _keys_as_bytes(row_keys)
    rows = rows_in(store.peek(stage, key))
    added = 0
    if rows.lacks(asked):
        with store.lock(stage, key):
            # Others may have added rows; and memory may hold rows that a full disk did not take.
            rows = rows.joined(rows_in(store.reread(stage, key)))
            missing = rows.lacks(asked)
            if missing:
                added = len(missing)
                store.stats[stage].count(misses=not rows.index)
                rows = rows.joined(_computed(row_keys, missing, compute))
                store.put(stage, key, rows.arrays)
    store.stats[stage].count(rows_found=len(asked) - added, rows_missing=added)
    return rows.take(asked)


def _computed(
    row_keys: NDArray[np.uint8], missing: Sequence[int], compute: Callable[[NDArray[np.int64]], Arrays]
) -> _Rows:
    positions = np.array(missing, np.int64)
    arrays = compute(positions)
    lengths = {name: array.shape[:1] for name, array in arrays.items()}
    if _ROW_KEYS in arrays or set(lengths.values()) - {positions.shape}:
        raise ValueError(f"{len(positions)} rows were to be computed, but these came: {lengths}")
    return rows_in(freeze({**arrays, _ROW_KEYS: row_keys[positions]}))
