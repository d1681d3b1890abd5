"""Memory hands out what it holds, read-only, and stays within its budget."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.cache._base import freeze
from salip_exp.cache._fetch import fetch
from salip_exp.cache.store import MemoryStore, Stage

TEXT = Stage.text


def test_an_entry_is_the_very_array_and_nobody_can_change_it():
    store, array = MemoryStore(1000), np.arange(4.0)
    store.put(TEXT, "ab1", {"x": array})
    found = store.get(TEXT, "ab1")
    assert found is not None and found["x"] is array
    assert store.get(TEXT, "ab1")["x"] is array
    with pytest.raises(ValueError, match="read-only"):
        found["x"][0] = 1
    assert store.get(TEXT, "ab2") is None and store.get(Stage.view, "ab1") is None
    assert (store.stats[TEXT].hits_memory, store.stats[TEXT].misses, store.stats[Stage.view].misses) == (2, 1, 1)


def test_a_view_of_what_can_change_is_copied():
    store, array = MemoryStore(1000), np.zeros((4, 4))
    store.put(TEXT, "ab1", {"row": array[1], "turned": array.T})
    array[:] = 7
    assert all(not each.any() and each.flags.c_contiguous for each in store.get(TEXT, "ab1").values())


def test_only_numbers_and_truth_values_are_kept():
    kept = freeze({"scalar": np.float32(2), "big": np.array([1, 2], ">i4"), "none": np.zeros((0, 3), bool)})
    assert {name: (each.dtype.str, each.shape) for name, each in kept.items()} == {
        "scalar": ("<f4", ()), "big": ("<i4", (2,)), "none": ("|b1", (0, 3)),
    }  # fmt: skip
    assert kept["big"].tolist() == [1, 2]
    for wrong in (np.array(["a"]), np.array([None]), np.array([1j]), np.zeros(2, [("a", "i4")]), np.zeros(1, "M8[s]")):
        with pytest.raises(TypeError, match=r"x holds .* numbers and truth values only"):
            MemoryStore(1000).put(TEXT, "ab", {"x": wrong})


def test_the_least_recently_used_leaves_first():
    store = MemoryStore(20)
    for key in ("a", "b"):
        store.put(TEXT, key, {"x": np.zeros(10, np.uint8)})
    store.get(TEXT, "a")
    store.put(TEXT, "c", {"x": np.zeros(10, np.uint8)})
    assert [store.get(TEXT, key) is not None for key in "abc"] == [True, False, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=30), st.integers(0, 120))
def test_it_is_a_dictionary_that_forgets_the_least_recently_used(steps, budget):
    store, model = MemoryStore(budget), {}
    for i, (name, size) in enumerate(steps):
        key = f"k{name}"
        if i % 3 == 2:
            found = store.get(TEXT, key)
            assert (None if found is None else found["x"].size) == model.get(key)
            if key in model:
                model[key] = model.pop(key)
        else:
            store.put(TEXT, key, {"x": np.zeros(size, np.uint8)})
            model.pop(key, None)
            if size <= budget:
                model[key] = size
            while sum(model.values()) > budget:
                model.pop(next(iter(model)))
    assert {f"k{i}" for i in range(6) if store.get(TEXT, f"k{i}") is not None} == set(model)


def test_threads_compute_an_entry_once():
    store, computed, barrier = MemoryStore(10**6), [], threading.Barrier(8)

    def ask(_: int) -> np.ndarray:
        barrier.wait()
        return fetch(store, TEXT, "abc", compute)["x"]

    def compute() -> dict[str, np.ndarray]:
        computed.append(1)
        time.sleep(0.05)
        return {"x": np.arange(3)}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(computed) == 1
    assert all(each is found[0] for each in found)
    assert (store.stats[TEXT].misses, store.stats[TEXT].hits_memory) == (1, 7)


def test_counting_in_threads_loses_nothing():
    store = MemoryStore(100)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [store.get(TEXT, "none") for _ in range(500)], range(8)))
    assert store.stats[TEXT].misses == 4000
