"""A process that shares a cache with others, for tests that start several, kill some, or take their disk away.

python worker.py ROLE FOLDER LOG [SEED]; every role ends by printing `ok` if all values were right, after the warnings.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from salip_exp.cache._base import content_key
from salip_exp.cache._fetch import fetch, fetch_rows
from salip_exp.cache.store import Arrays, DiskStore, Layered, MemoryStore, Stage, Store, open_store
from salip_exp.config import CacheConfig
from salip_exp.errors import EnvironmentFault

KEYS = [content_key("shared", i) for i in range(10)]
ROWS = 60
TABLE = content_key("one table")


def value(key: str) -> Arrays:
    seed = int(key[:8], 16)
    return {"x": np.random.default_rng(seed).random((50, 40), np.float32), "seed": np.array(seed)}


def row_key(i: int) -> bytes:
    return bytes.fromhex(content_key("row", i))[:16]


def row_value(i: int) -> np.ndarray:
    return np.full(200, i, np.float64)


def right(key: str, arrays: Arrays) -> bool:
    wanted = value(key)
    return set(arrays) == set(wanted) and all(np.array_equal(arrays[name], wanted[name]) for name in wanted)


def layered(folder: Path, budget: int = 10**9) -> Store:
    return Layered(MemoryStore(10**8), DiskStore(folder, budget))


def note(log: Path, line: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def entries(folder: Path, log: Path, seed: int) -> bool:
    """Ask for the same keys as everybody else, in an order of its own."""
    store, order = layered(folder), random.Random(seed).sample(KEYS, len(KEYS))

    def computed(key: str) -> Callable[[], Arrays]:
        def compute() -> Arrays:
            note(log, key)
            time.sleep(0.03)
            return value(key)

        return compute

    return all(right(key, fetch(store, Stage.embedding, key, computed(key))) for key in order)


def rows(folder: Path, log: Path, seed: int) -> bool:
    """Add rows to one entry, a few at a time: half of them its own, half of them asked for by everybody."""
    store = layered(folder)
    wanted = [*range(ROWS // 2), *range(ROWS * (seed + 1), ROWS * (seed + 1) + ROWS // 2)]
    random.Random(seed).shuffle(wanted)
    fine = True
    for start in range(0, len(wanted), 4):
        asked = wanted[start : start + 4]

        def compute(where: np.ndarray, asked: list[int] = asked) -> Arrays:
            for i in where:
                note(log, str(asked[i]))
            return {"x": np.stack([row_value(asked[i]) for i in where])}

        keys = np.frombuffer(b"".join(map(row_key, asked)), np.uint8).reshape(-1, 16)
        got = fetch_rows(store, Stage.view, TABLE, keys, compute)
        fine &= bool(np.array_equal(got["x"], np.stack([row_value(i) for i in asked])))
    return fine


def hold(folder: Path, log: Path, seed: int) -> bool:
    """Begin to compute and never end."""

    def compute() -> Arrays:
        note(log, "begun")
        time.sleep(3600)
        return {}

    fetch(layered(folder), Stage.embedding, KEYS[0], compute)
    return True


def nested(folder: Path, log: Path, seed: int) -> bool:
    """Compute an entry of one stage out of another's, from both stages that need it and in several threads."""
    from concurrent.futures import ThreadPoolExecutor

    store = layered(folder)

    def upper() -> Arrays:
        note(log, "embedding")
        time.sleep(0.05)
        return value(KEYS[1])

    def lower() -> Arrays:
        return {"sum": fetch(store, Stage.embedding, KEYS[1], upper)["x"].sum(keepdims=True)}

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(fetch, store, stage, key, lower) for key in KEYS for stage in (Stage.organ, Stage.table)]
        return all(job.result()["sum"] == value(KEYS[1])["x"].sum() for job in jobs)


def fill(folder: Path, log: Path, seed: int) -> bool:
    """Write far more than a budget of one megabyte holds."""
    store = layered(folder, 1_000_000)
    keys = [content_key(seed, i) for i in range(150)]
    return all(right(key, fetch(store, Stage.table, key, lambda key=key: value(key))) for key in keys)  # type: ignore[misc]


def scribble(folder: Path, log: Path, seed: int) -> bool:
    """Write entries as fast as possible until killed."""
    store = layered(folder)
    note(log, "begun")
    for i in range(10**6):
        key = content_key(seed, i % 50)
        store.put(Stage.clean, key, value(key) | {"more": np.zeros(100_000 + i)})
    return True


def limited(folder: Path, log: Path, seed: int) -> bool:
    """Lose the disk on the way: files may hold no more than a few bytes from the fourth entry on."""
    import resource

    store = layered(folder)
    fine = True
    for i, key in enumerate(KEYS):
        if i == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        fine &= right(key, fetch(store, Stage.table, key, lambda key=key: value(key)))  # type: ignore[misc]
        fine &= right(key, fetch(store, Stage.table, key, dict))
    print("unwritten", store.stats[Stage.table].unwritten)
    return fine


def full(folder: Path, log: Path, seed: int) -> bool:
    """Write until the file system is full, and on."""
    store = layered(folder)
    for i in range(100):
        key = content_key(seed, i)
        if not right(key, fetch(store, Stage.table, key, lambda key=key: value(key))):  # type: ignore[misc]
            return False
    print("unwritten", store.stats[Stage.table].unwritten)
    return True


def read_only(folder: Path, log: Path, seed: int) -> bool:
    """Use a store whose folder may be read and not written; as nobody, where root would be let in."""
    if os.geteuid() == 0:
        os.setuid(65534)
    store = layered(folder)
    fine = right(KEYS[0], fetch(store, Stage.table, KEYS[0], dict))
    return fine and all(
        right(key, fetch(store, Stage.table, key, lambda key=key: value(key)))  # type: ignore[misc]
        for key in KEYS
    )


def opened(folder: Path, log: Path, seed: int) -> bool:
    """Open the store as a run does."""
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        open_store(CacheConfig(folder=str(folder)))
    except EnvironmentFault as fault:
        print(fault)
    return True


ROLES: dict[str, Callable[[Path, Path, int], bool]] = {
    each.__name__: each for each in (entries, rows, hold, nested, fill, scribble, limited, full, read_only, opened)
}

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(message)s")
    role, place, log_file, *rest = sys.argv[1:]
    print("ok" if ROLES[role](Path(place), Path(log_file), int(*rest or ["0"])) else "wrong")
