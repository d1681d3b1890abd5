"""What a user asks to have removed is removed, said, and nothing else is touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from salip_exp.cache._base import content_key
from salip_exp.cache._files import CacheFile, Removed, clean_up, entries, entry_path, remove
from salip_exp.cache.store import DiskStore, Stage
from salip_exp.config import CacheConfig

KEYS = [content_key(i) for i in range(10)]
DAY_S = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten entries of about 100 kB, the i-th last used i days ago; a draft, weights, and a note of somebody's."""
    store = DiskStore(tmp_path, 10**9)
    for i, key in enumerate(KEYS):
        store.put(Stage.table, key, {"x": np.zeros(100_000, np.uint8)})
        age(entry_path(tmp_path, Stage.table, key), i * DAY_S + 10)
    draft = entry_path(tmp_path, Stage.table, KEYS[0]).with_name(f".{KEYS[0]}.bin.0.tmp")
    for path in (draft, tmp_path / "weights" / "net.pth", tmp_path / "stages" / "v1" / "table" / "note"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        age(path, 100 * DAY_S)
    return tmp_path


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def removed(folder: Path, **keys: object) -> dict[str, int]:
    return {what: part.n for what, part in clean_up(folder, CacheConfig(**keys))}  # type: ignore[arg-type]


def left(folder: Path) -> list[str]:
    assert (folder / "weights" / "net.pth").exists() and (folder / "stages" / "v1" / "table" / "note").exists()
    return [item.key for item in reversed(entries(folder))]


def test_nothing_is_removed_unasked(folder: Path):
    assert removed(folder) == {}
    assert left(folder) == KEYS


def test_what_was_not_used_for_days(folder: Path):
    assert removed(folder, older_than_days=3) == {"not used for 3 days": 7}
    assert left(folder) == KEYS[:3]
    assert removed(folder, older_than_days=0.0) == {"not used for 0 days": 3}


def test_pruning_removes_leftovers_damaged_entries_and_the_least_recently_used(folder: Path):
    for key in KEYS[:2]:
        path = entry_path(folder, Stage.table, key)
        stat = path.stat()
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        os.utime(path, (stat.st_atime, stat.st_mtime))
    seen: list[CacheFile] = []
    config = CacheConfig(prune=True, older_than_days=8.5, disk_gb=0.0005)
    parts = {what: part.n for what, part in clean_up(folder, config, lambda items: seen.extend(items) or items)}  # type: ignore[func-returns-value]
    assert parts == {
        "left behind by killed processes": 1,
        "not used for 8.5 days": 1,
        "damaged": 2,
        "least recently used, to keep cache.disk_gb=0.0005": 3,
    }
    assert left(folder) == KEYS[2:6]
    assert len(seen) == 9


def test_clearing_removes_every_entry_and_no_weights(folder: Path):
    assert removed(folder, clear=True) == {"every entry": 10, "left behind by killed processes": 1}
    assert left(folder) == []
    assert not list((folder / "stages").rglob("*.tmp"))


def test_what_cannot_be_removed_is_counted(folder: Path):
    (item, *_) = entries(folder)
    blocked = CacheFile(folder / "weights", Stage.table, 1, 0.0)
    gone = CacheFile(folder / "nothing", Stage.table, 1, 0.0)
    assert remove([item, blocked, gone]) == Removed(1, item.size, 1)
