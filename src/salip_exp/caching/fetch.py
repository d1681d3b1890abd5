"""Compute once: an entry, or the rows of one, from the store where they are there, else computed and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from salip_exp.caching.rows import ROW_KEYS, Table, names, table
from salip_exp.caching.stages import Arrays, Stage, freeze
from salip_exp.caching.store import Store


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
    asked = names(row_keys)
    rows = table(store.peek(stage, key))
    added = 0
    if rows.lacks(asked):
        with store.lock(stage, key):
            # Others may have added rows; and memory may hold rows that a full disk did not take.
            rows = rows.joined(table(store.reread(stage, key)))
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
) -> Table:
    positions = np.array(missing, np.int64)
    arrays = compute(positions)
    lengths = {name: array.shape[:1] for name, array in arrays.items()}
    if ROW_KEYS in arrays or set(lengths.values()) - {positions.shape}:
        raise ValueError(f"{len(positions)} rows were to be computed, but these came: {lengths}")
    return table(freeze({**arrays, ROW_KEYS: row_keys[positions]}))
