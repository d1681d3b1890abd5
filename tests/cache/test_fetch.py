"""What is there is not computed; what is not there is computed once and kept; whatever the store."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salip_exp.cache import _fetch as rows_module
from salip_exp.cache._base import content_key
from salip_exp.cache._fetch import fetch, fetch_rows, rows_in
from salip_exp.cache._files import entries, entry_path
from salip_exp.cache.store import DiskStore, Layered, MemoryStore, NoStore, Stage, Store

VIEW = Stage.view
KEY = content_key("entry")
STORES: dict[str, Callable[[Path], Store]] = {
    "off": lambda folder: NoStore(),
    "memory": lambda folder: MemoryStore(10**7),
    "disk": lambda folder: DiskStore(folder, 10**9),
    "layered": lambda folder: Layered(MemoryStore(10**7), DiskStore(folder, 10**9)),
    "layered without memory": lambda folder: Layered(MemoryStore(0), DiskStore(folder, 10**9)),
}


def row_keys(*numbers: int) -> np.ndarray:
    """Keys that also differ in trailing zeros alone."""
    return np.array([list(divmod(i, 256)) + [0] * 14 for i in numbers], np.uint8).reshape(-1, 16)


def rows_of(*numbers: int) -> dict[str, np.ndarray]:
    whole = np.array(numbers, np.int64)
    return {"x": np.stack([whole, whole / 3], 1).astype(np.float32), "odd": whole % 2 == 1}


class Counted:
    """Computes rows of the numbers asked for, and remembers which."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.computed = numbers, []

    def __call__(self, where: np.ndarray) -> dict[str, np.ndarray]:
        assert where.dtype == np.int64 and len(where) and (np.diff(where) > 0).all()
        self.computed += [self.numbers[i] for i in where]
        return rows_of(*(self.numbers[i] for i in where))


def ask(store: Store, *numbers: int) -> list[int]:
    """Ask for rows, check them, and say which were computed."""
    compute = Counted(*numbers)
    found = fetch_rows(store, VIEW, KEY, row_keys(*numbers), compute)
    wanted = rows_of(*numbers)
    assert set(found) == {"x", "odd"} or (not numbers and not found)
    for name, array in found.items():
        assert array.dtype == wanted[name].dtype and np.array_equal(array, wanted[name])
        assert not array.flags.writeable
    return compute.computed


@pytest.mark.parametrize("name", STORES)
def test_an_entry_is_computed_once_and_read_only(name: str, tmp_path: Path):
    store, computed = STORES[name](tmp_path), []

    def compute() -> dict[str, np.ndarray]:
        computed.append(1)
        return {"x": np.arange(5)}

    for _ in range(3):
        found = fetch(store, VIEW, KEY, compute)["x"]
        assert found.tolist() == [0, 1, 2, 3, 4] and not found.flags.writeable
    assert len(computed) == store.stats[VIEW].misses == (3 if name == "off" else 1)
    assert fetch(store, Stage.text, KEY, lambda: {"y": np.zeros(1)}).keys() == {"y"}


@pytest.mark.parametrize("name", STORES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
def test_rows_are_those_of_a_dictionary(name: str, data, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("cache")
    stores = [STORES[name](folder) for _ in range(2 if "disk" in name or "layered" in name else 1)]
    known: set[int] = set()
    steps = st.tuples(st.integers(0, len(stores) - 1), st.lists(st.integers(0, 12) | st.integers(250, 262), max_size=8))
    for which, numbers in data.draw(st.lists(steps, max_size=8)):
        new = list(dict.fromkeys(i for i in numbers if i not in known))
        assert ask(stores[which], *numbers) == new
        known |= set(numbers) if name != "off" else set()
    tallies = [store.stats[VIEW] for store in stores]
    assert name == "off" or sum(each.rows_missing for each in tallies) == len(known)


def test_no_rows_are_those_of_the_entry_if_there_is_one():
    store = MemoryStore(10**6)
    assert fetch_rows(store, VIEW, KEY, row_keys(), Counted()) == {}
    ask(store, 1, 2)
    found = fetch_rows(store, VIEW, KEY, row_keys(), Counted())
    assert {name: (array.shape, array.dtype.name) for name, array in found.items()} == {
        "x": ((0, 2), "float32"), "odd": ((0,), "bool"),
    }  # fmt: skip


def test_rows_found_and_missing_are_counted():
    store = MemoryStore(10**6)
    ask(store, 1, 2, 2)
    ask(store, 2, 3, 1, 1)
    tally = store.stats[VIEW]
    assert (tally.rows_found, tally.rows_missing, tally.misses) == (4, 3, 1)


def test_nobodys_rows_are_lost_when_two_add_to_one_entry(tmp_path: Path):
    one, other = STORES["layered"](tmp_path), STORES["layered"](tmp_path)
    assert ask(one, 1, 2) == [1, 2]
    assert ask(other, 2, 3) == [3]  # found on disk
    assert ask(one, 3, 4) == [4]  # memory knows nothing of 3, the disk does
    assert ask(other, 4, 1) == []
    assert ask(STORES["layered"](tmp_path), 1, 2, 3, 4) == []


def test_what_nobody_changed_is_not_read_again(tmp_path: Path):
    store = STORES["layered"](tmp_path)
    for i in range(5):
        assert ask(store, i) == [i]
    assert store.stats[VIEW].bytes_read == 0
    ask(STORES["layered"](tmp_path), 9)
    assert ask(store, 9) == []
    read = store.stats[VIEW].bytes_read
    assert read > 0
    assert ask(store, 7, 8) == [7, 8]
    assert store.stats[VIEW].bytes_read == read
    entry_path(tmp_path, VIEW, KEY).unlink()
    assert ask(store, *range(11)) == [5, 6, 10]  # memory has the others
    assert ask(STORES["layered"](tmp_path), *range(11)) == []


def test_memory_keeps_rows_that_a_full_disk_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from salip_exp.cache import _disk as disk

    store = STORES["layered"](tmp_path)
    ask(store, 1, 2)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_bytes", refuse)
        assert ask(store, 3) == [3]
    other = STORES["layered"](tmp_path)
    assert ask(other, 4) == [4]  # by another process, for which there was room
    assert ask(store, 4) == []
    assert ask(store, 5, 4, 3) == [5]
    assert ask(store, 1, 2, 3, 4, 5) == []


def test_a_damaged_table_is_computed_again(tmp_path: Path):
    ask(STORES["layered"](tmp_path), 1, 2)
    file = entry_path(tmp_path, VIEW, KEY)
    file.write_bytes(file.read_bytes()[:-3])
    store = STORES["layered"](tmp_path)
    assert ask(store, 1, 2) == [1, 2]
    assert store.stats[VIEW].damaged == 1


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda where: {"x": np.zeros(len(where) + 1)}, "2 rows were to be computed"),
        (lambda where: {"x": np.zeros(len(where)), "y": np.array(1)}, "2 rows were to be computed"),
        (lambda where: {"row_keys": np.zeros((len(where), 16), np.uint8)}, "2 rows were to be computed"),
        (lambda where: rows_of(*where) | {"more": where}, "cannot join"),
        (lambda where: {"x": np.zeros((len(where), 3), np.float32), "odd": where > 0}, "cannot join"),
        (lambda where: rows_of(*where) | {"odd": where}, "cannot join"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_harm_nothing(made, said: str, tmp_path: Path):
    store = STORES["layered"](tmp_path)
    ask(store, 1)
    with pytest.raises(ValueError, match=said):
        fetch_rows(store, VIEW, KEY, row_keys(1, 2, 3), made)
    assert ask(store, 1, 2, 3) == [2, 3]


@pytest.mark.parametrize("keys", [np.zeros((2, 15), np.uint8), np.zeros((2, 16), np.int8), np.zeros(16, np.uint8)])
def test_row_keys_of_another_form_are_refused(keys: np.ndarray):
    with pytest.raises(ValueError, match=r"row keys are \(n, 16\) uint8"):
        fetch_rows(MemoryStore(100), VIEW, KEY, keys, Counted())


def test_row_keys_may_be_a_view():
    store, wide = MemoryStore(10**6), np.zeros((6, 32), np.uint8)
    wide[:, 0] = range(6)
    found = fetch_rows(store, VIEW, KEY, wide[::2, :16], lambda where: {"x": where})
    assert found["x"].tolist() == [0, 1, 2]
    assert fetch_rows(store, VIEW, KEY, wide[2:3, :16], Counted())["x"].tolist() == [1]


def test_the_whole_table_in_its_order_is_handed_out_without_a_copy():
    store = MemoryStore(10**6)
    ask(store, 1, 2, 3)
    kept = store.get(VIEW, KEY)
    found = fetch_rows(store, VIEW, KEY, row_keys(1, 2, 3), Counted())
    assert kept is not None and found["x"] is kept["x"]


def test_indices_of_row_keys_are_bounded(monkeypatch: pytest.MonkeyPatch):
    indices = rows_module._Indices()
    monkeypatch.setattr(rows_module, "_INDEXED_ROWS", 10)
    arrays = [row_keys(*range(4)) for _ in range(5)]
    for array in arrays:
        assert list(indices.of(array).values()) == [0, 1, 2, 3]
    assert [id(array) in indices._known for array in arrays] == [False, False, False, True, True]
    assert indices.of(arrays[3]) is indices.of(arrays[3])
    big = row_keys(*range(20))
    assert len(indices.of(big)) == 20 and list(indices._known) == [id(big)]


def test_an_index_never_serves_another_array_nor_keeps_one_alive():
    indices = rows_module._Indices()
    for i in range(300):  # identities of freed arrays come again
        assert indices.of(row_keys(i)) == {bytes(row_keys(i)[0]): 0}
    array = row_keys(1)
    gone = weakref.ref(array)
    indices.of(array)
    del array
    assert gone() is None


def test_a_warm_look_is_fast(tmp_path: Path):
    store = STORES["layered"](tmp_path)
    keys = np.random.default_rng(0).integers(0, 256, (2000, 16), np.uint8)
    made = {"x": np.zeros((2000, 512), np.float32)}
    fetch_rows(store, VIEW, KEY, keys, lambda where: {"x": made["x"][where]})
    fetch(store, Stage.text, KEY, lambda: {"x": np.zeros(512)})
    rows_s = min(seconds(lambda: fetch_rows(store, VIEW, KEY, keys[800:1200], Counted())) for _ in range(20))
    entry_s = min(seconds(lambda: fetch(store, Stage.text, KEY, dict)) for _ in range(20))
    assert rows_s < 0.002 and entry_s < 0.0005  # a tenth of that on a quiet machine


def seconds(call: Callable[[], object]) -> float:
    """Of this thread's work, whatever else the machine does."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def test_an_entry_holds_its_row_keys(tmp_path: Path):
    ask(DiskStore(tmp_path, 10**9), 7, 5)
    kept = rows_in(DiskStore(tmp_path, 10**9).get(VIEW, KEY))
    assert kept.arrays["row_keys"].tolist() == row_keys(7, 5).tolist()
    assert len(entries(tmp_path)) == 1
