"""Files of the cache: what was written is what is read, or nothing is."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from salip_exp.cache import _disk as disk
from salip_exp.cache import _files as files
from salip_exp.cache._base import DTYPES, content_key
from salip_exp.cache._fetch import fetch
from salip_exp.cache._files import HEAD, MARK, Damaged, entries, entry_path, leftovers, pack, unpack
from salip_exp.cache.store import DiskStore, Layered, MemoryStore, Stage

TABLE, VIEW = Stage.table, Stage.view
KEY, OTHER = content_key("one"), content_key("other")
GB = 10**9
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ARRAYS = stn.arrays(st.sampled_from(sorted(DTYPES)), stn.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path, GB)


def numbers(i: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.arange(i, i + 200.0), "n": np.array(i), "none": np.zeros((0, 7), bool)}


def equal(a: dict[str, np.ndarray] | None, b: dict[str, np.ndarray]) -> bool:
    return a is not None and forms(a) == forms(b)


def forms(arrays: dict[str, np.ndarray]) -> dict[str, tuple[object, ...]]:
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.dictionaries(NAMES, ARRAYS, max_size=3))
def test_what_is_put_is_what_another_store_gets(tmp_path: Path, arrays):
    key = content_key(*arrays.values())
    DiskStore(tmp_path, GB).put(TABLE, key, dict(arrays))
    found = DiskStore(tmp_path, GB).get(TABLE, key)
    assert equal(found, arrays)
    assert not any(each.flags.writeable for each in found.values())


def test_hits_misses_bytes_and_seconds_are_counted(store: DiskStore, tmp_path: Path):
    assert store.get(TABLE, KEY) is None
    store.put(TABLE, KEY, numbers())
    assert equal(store.get(TABLE, KEY), numbers())
    assert equal(store.reread(TABLE, KEY), numbers())
    size = entry_path(tmp_path, TABLE, KEY).stat().st_size
    tally = store.stats[TABLE]
    assert (tally.misses, tally.hits_disk, tally.bytes_written, tally.bytes_read) == (1, 1, size, 2 * size)
    assert 0 < tally.seconds < 5


def test_an_entry_lies_where_it_is_said_to(store: DiskStore, tmp_path: Path):
    store.put(TABLE, KEY, numbers())
    (file,) = (tmp_path / "stages").rglob("*.bin")
    assert file == tmp_path / "stages" / "v1" / "table" / KEY[:2] / f"{KEY}.bin"
    assert file.read_bytes().startswith(b"salip stage v1")
    for wrong in ("../x", "a/b", "", "a b"):
        with pytest.raises(ValueError, match="is not a key"):
            store.put(TABLE, wrong, numbers())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[: HEAD - 1],
        lambda data: data + b"\0",
        lambda data: b"once upon a time\n" * 40,
        lambda data: b"\x80\x04\x95" + data,  # a pickle begins like this
        lambda data: data.replace(b"v1", b"v2", 1),
    ],
    ids=["empty", "half", "one byte short", "no content", "one byte long", "text", "pickle", "another version"],
)
@pytest.mark.fault("R3")
def test_a_damaged_file_is_removed_and_computed_again(store: DiskStore, tmp_path: Path, damage, caplog):
    store.put(TABLE, KEY, numbers())
    file = entry_path(tmp_path, TABLE, KEY)
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert store.get(TABLE, KEY) is None
    assert not file.exists()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(file) in caplog.text
    assert (store.stats[TABLE].damaged, store.stats[TABLE].misses) == (1, 1)
    assert equal(fetch(store, TABLE, KEY, lambda: numbers(3)), numbers(3))
    assert equal(store.get(TABLE, KEY), numbers(3))


@pytest.mark.fault("R3")
def test_no_flipped_bit_goes_unnoticed():
    data = b"".join(pack(TABLE, KEY, {"x": np.arange(3, dtype=np.uint8)}))
    for i in range(8 * len(data)):
        changed = bytearray(data)
        changed[i // 8] ^= 1 << i % 8
        with pytest.raises(Damaged):
            unpack(TABLE, KEY, bytes(changed))


@given(st.dictionaries(NAMES, ARRAYS, max_size=3))
def test_an_entry_is_a_safetensors_file_behind_its_head(arrays):
    data = b"".join(pack(TABLE, KEY, arrays))
    assert equal(safetensors.numpy.load(data[HEAD:]), arrays)
    for array in unpack(TABLE, KEY, data).values():
        assert array.ctypes.data % array.itemsize == 0 and array.flags.aligned


@given(st.binary(max_size=60) | st.recursive(st.integers() | st.text(), st.lists).map(lambda tree: forged({"x": tree})))
def test_a_right_digest_over_nonsense_is_damage_and_nothing_else(content: bytes):
    data = MARK + hashlib.sha256(f"table/{KEY}\n".encode() + content).digest() + content
    with pytest.raises(Damaged, match="its header does not describe it"):
        unpack(TABLE, KEY, data)


@pytest.mark.parametrize(
    "form",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "U8", "shape": [-1], "data_offsets": [0, 99]},
        {"dtype": "U8", "shape": [8], "data_offsets": [-800, -792]},
        {"dtype": "U8", "shape": [9], "data_offsets": [0, 8]},
        {"dtype": "O", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [8]},
    ],
)
def test_a_header_never_reaches_beyond_its_data(form):
    test_a_right_digest_over_nonsense_is_damage_and_nothing_else.hypothesis.inner_test(forged({"x": form}) + bytes(8))


def forged(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def test_a_file_under_another_name_or_stage_is_refused(store: DiskStore, tmp_path: Path):
    store.put(TABLE, KEY, numbers(1))
    store.put(TABLE, OTHER, numbers(2))
    one, other, view = (entry_path(tmp_path, *each) for each in ((TABLE, KEY), (TABLE, OTHER), (VIEW, KEY)))
    view.parent.mkdir(parents=True)
    shutil.copy(one, view)
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    for stage, key in ((TABLE, KEY), (TABLE, OTHER), (VIEW, KEY)):
        assert equal(fetch(store, stage, key, lambda: numbers(9)), numbers(9))
    assert (store.stats[TABLE].damaged, store.stats[VIEW].damaged) == (2, 1)


def test_what_stands_in_the_way_of_reading_is_a_miss(store: DiskStore, tmp_path: Path, caplog):
    entry_path(tmp_path, TABLE, KEY).mkdir(parents=True)
    assert store.get(TABLE, KEY) is None
    assert "damaged or unreadable" in caplog.text


def test_the_time_of_last_use_is_noted_at_most_once_a_minute(store: DiskStore, tmp_path: Path, monkeypatch):
    store.put(TABLE, KEY, numbers())
    file = entry_path(tmp_path, TABLE, KEY)
    age(file, 1000)
    begun, aged = time.time(), file.stat().st_mtime
    assert disk.TOUCH_S == 60.0
    monkeypatch.setattr(disk, "TOUCH_S", 1e6)
    store.get(TABLE, KEY)
    assert file.stat().st_mtime == aged  # written less than so long ago
    monkeypatch.setattr(disk, "TOUCH_S", 0.0)
    store.get(TABLE, KEY)
    assert file.stat().st_mtime > begun - 1
    age(file, 1000)
    layered = Layered(MemoryStore(GB), DiskStore(tmp_path, GB))
    for _ in range(2):  # from disk, then from memory
        layered.get(TABLE, KEY)
        assert file.stat().st_mtime > begun - 1
        age(file, 1000)


def test_above_the_budget_the_least_recently_used_leave(tmp_path: Path):
    store = DiskStore(tmp_path, GB)
    keys = [content_key(i) for i in range(20)]
    for i, key in enumerate(keys):
        store.put(TABLE if i % 2 else VIEW, key, {"x": np.zeros(10_000, np.uint8)})
        age(entry_path(tmp_path, TABLE if i % 2 else VIEW, key), 1000 - i)
    small = DiskStore(tmp_path, 150_000)
    assert len(entries(tmp_path)) == 20, "opening a store removes nothing"
    small.put(TABLE, KEY, numbers())
    left = [item.key for item in entries(tmp_path) if item.key != KEY]
    assert left == keys[-len(left) :]
    assert 0.8 * 150_000 < sum(item.size for item in entries(tmp_path)) <= 0.9 * 150_000
    assert equal(small.get(TABLE, KEY), numbers())
    for i in range(100, 160):
        small.put(TABLE, content_key(i), {"x": np.zeros(10_000, np.uint8)})
        assert sum(item.size for item in entries(tmp_path)) <= 1.1 * 150_000
    small.put(TABLE, KEY, {"x": np.zeros(200_000, np.uint8)})
    assert small.get(TABLE, KEY) is None
    assert small.stats[TABLE].unwritten == 1


def looked(folder: Path, budget: int) -> DiskStore:
    """A store that has looked at the budget if it was due, and kept nothing: what was to be kept is too large."""
    store = DiskStore(folder, budget)
    store.put(TABLE, OTHER, {"x": np.broadcast_to(np.uint8(0), budget + 1)} if budget < GB else numbers())
    return store


def test_the_first_entry_of_a_store_looks_at_the_budget_once_in_a_while_or_when_it_changed(tmp_path: Path, monkeypatch):
    looks = []
    monkeypatch.setattr(disk, "evict_some", lambda *given: looks.append(given) or files.evict_some(*given))
    looked(tmp_path, GB)
    looked(tmp_path, GB)
    assert len(looks) == 1
    DiskStore(tmp_path, 100)
    assert len(looks) == 1 and entries(tmp_path), "opening a store does not"
    looked(tmp_path, 100)
    assert len(looks) == 2 and not entries(tmp_path)
    looked(tmp_path, 100)
    assert len(looks) == 2
    age(tmp_path / "stages" / "v1" / "budget.txt", 3600)
    looked(tmp_path, 100)
    assert len(looks) == 3
    (tmp_path / "stages" / "v1" / "budget.txt").write_text("nonsense")
    looked(tmp_path, 100).put(TABLE, KEY, {"x": np.zeros(200, np.uint8)})
    assert len(looks) == 4


def filled(folder: Path, n: int) -> Path:
    """A cache of n entries of 1 kB, the i-th last used n - i seconds ago."""
    for i in range(n):
        path = entry_path(folder, list(Stage)[i % len(Stage)], content_key(i))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
        age(path, n - i)
    return folder


@pytest.mark.fault("B6")
def test_a_look_is_at_a_part_of_a_large_cache_whatever_its_size_and_none_when_it_is_opened(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "LOOKED_AT", 50)
    seen = []
    original = files.CacheFile
    monkeypatch.setattr(files, "CacheFile", lambda *given: seen.append(given) or original(*given))
    looks = []
    for n in (600, 2400):
        filled(tmp_path / str(n), n)
        seen.clear()
        store = DiskStore(tmp_path / str(n), GB)
        assert not seen
        store.put(TABLE, KEY, numbers())
        looks.append(len(seen))
    assert all(50 <= each < 80 for each in looks), looks


@pytest.mark.fault("B6")
def test_part_by_part_a_large_cache_comes_down_to_its_budget_and_keeps_what_was_used_last(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "LOOKED_AT", 50)
    n, opened = 1500, 0
    filled(tmp_path, n)
    while files.is_eviction_due(tmp_path, n * 500):
        looked(tmp_path, n * 500)
        opened += 1
    assert opened > 10
    left = entries(tmp_path)
    assert 0.8 * n * 500 < sum(item.size for item in left) <= n * 500
    newest = {content_key(i) for i in range(int(0.7 * n), n)}
    assert len(newest & {item.key for item in left}) > 0.95 * len(newest)
    before = len(left)
    for _ in range(20):
        (tmp_path / "stages" / "v1" / "budget.txt").unlink(missing_ok=True)
        looked(tmp_path, n * 500)
    assert len(entries(tmp_path)) == before, "what is within its budget is left alone"


@pytest.mark.ci
@pytest.mark.fault("B6")
def test_a_large_cache_that_is_written_to_stays_within_its_budget(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "LOOKED_AT", 50)
    store = DiskStore(tmp_path, 400_000)
    for i in range(1200):
        store.put(TABLE, content_key(i), {"x": np.zeros(800, np.uint8)})
    assert sum(item.size for item in entries(tmp_path)) <= 1.15 * 400_000
    assert equal(store.get(TABLE, content_key(1199)), {"x": np.zeros(800, np.uint8)})


@pytest.mark.fault("B1")
@pytest.mark.parametrize("odd", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_under_an_entrys_name_is_no_entry(store: DiskStore, tmp_path: Path, odd):
    path = entry_path(tmp_path, TABLE, KEY)
    path.parent.mkdir(parents=True)
    odd(path)
    assert store.get(TABLE, KEY) is None
    assert equal(fetch(store, TABLE, KEY, numbers), numbers())
    assert equal(fetch(store, TABLE, OTHER, numbers), numbers())
    assert store.writing and equal(DiskStore(tmp_path, GB).get(TABLE, OTHER), numbers())


def test_only_old_drafts_are_swept_and_strange_files_are_left_alone(store: DiskStore, tmp_path: Path):
    store.put(TABLE, KEY, numbers())
    slot = entry_path(tmp_path, TABLE, KEY).parent
    for name in (f".{KEY}.bin.old.tmp", f".{KEY}.bin.new.tmp", "notes.txt"):
        (slot / name).write_text("x")
    age(slot / f".{KEY}.bin.old.tmp", 7200)
    age(slot / "notes.txt", 7200)
    assert [item.path.name for item in leftovers(tmp_path)] == [f".{KEY}.bin.old.tmp"]
    files.evict(tmp_path, 1)
    assert sorted(each.name for each in slot.iterdir()) == [f".{KEY}.bin.new.tmp", "notes.txt"]


def test_one_process_prunes_at_a_time(store: DiskStore, tmp_path: Path):
    from filelock import FileLock

    store.put(TABLE, KEY, numbers())
    with FileLock(tmp_path / "locks" / "pruning.lock"):
        assert files.evict(tmp_path, 1, timeout_s=0.1).n == 0
    assert files.evict(tmp_path, 1).n == 1


@pytest.mark.fault("R10")
def test_links_are_not_followed(store: DiskStore, tmp_path: Path):
    store.put(TABLE, KEY, numbers())
    file = entry_path(tmp_path, TABLE, KEY)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{OTHER}.bin").write_text("mine")
    (file.parent.parent / "zz").symlink_to(outside)
    (file.parent / f"{OTHER}.bin").symlink_to(outside / f"{OTHER}.bin")
    assert [item.path for item in entries(tmp_path)] == [file]


def test_a_failing_disk_is_told_once_and_the_values_are_right(store: DiskStore, tmp_path: Path, monkeypatch, caplog):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write_bytes", refuse)
    layered = Layered(MemoryStore(GB), store)
    for i in range(5):
        assert equal(fetch(layered, TABLE, content_key(i), lambda i=i: numbers(i)), numbers(i))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left on device" in caplog.text
    assert layered.stats[TABLE].unwritten == 5
    assert equal(layered.get(TABLE, content_key(3)), numbers(3))
    assert not entries(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_the_cache_works_and_says_so_once(tmp_path: Path, monkeypatch, caplog, number):
    """As on file systems that have none: the system call itself fails."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    store = DiskStore(tmp_path, GB)
    for i in range(3):
        assert equal(fetch(store, TABLE, content_key(i), lambda i=i: numbers(i)), numbers(i))
    assert len([record for record in caplog.records if "no locks" in record.message]) == 1
    assert os.strerror(number) in caplog.text
    assert files.evict(tmp_path, 1).n == 3
    with store.lock(TABLE, KEY):  # no mark that would outlive this process
        assert not [path for path in (tmp_path / "locks").rglob("*.lock") if path.stat().st_size]


def test_one_thread_never_waits_for_itself(store: DiskStore):
    with store.lock(TABLE, KEY), store.lock(Stage.embedding, KEY):
        inner = store.lock(TABLE, OTHER)
        with pytest.raises(RuntimeError, match="while another one of table is"):
            inner.__enter__()
    with store.lock(TABLE, OTHER):
        pass


def test_after_an_error_the_next_computes(store: DiskStore):
    def fails() -> dict[str, np.ndarray]:
        raise MemoryError("too much")

    with pytest.raises(MemoryError):
        fetch(store, TABLE, KEY, fails)
    assert equal(fetch(store, TABLE, KEY, numbers), numbers())


def test_there_are_few_lock_files(store: DiskStore, tmp_path: Path):
    for i in range(600):
        with store.lock(TABLE, content_key(i)):
            pass
    assert len(list((tmp_path / "locks").rglob("*.lock"))) <= 257
