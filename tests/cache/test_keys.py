"""Different parts have different keys, the same parts the same one, in every process."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from salip_exp.cache._base import content_key
from salip_exp.config import Fill

ARRAYS = stn.arrays(
    st.sampled_from(["u1", "i4", "i8", "f2", "f4", "f8", "?", ">f4"]),
    stn.array_shapes(min_dims=0, max_side=3, min_side=0),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
PARTS = st.recursive(SCALARS | ARRAYS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


def same(a: object, b: object) -> bool:
    """Equality that knows types, bits and shapes."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        )
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    return type(a) is type(b) and a == b


@given(st.lists(PARTS, max_size=4), st.lists(PARTS, max_size=4))
def test_two_lists_of_parts_share_a_key_only_if_they_are_the_same(a, b):
    assert (content_key(*a) == content_key(*b)) == same(a, b)


@given(st.lists(st.sampled_from(["a", "b", "ab", "", b"a", ["a"], ["a", "b"], [], 1, True, 1.0, "1"]), max_size=5))
def test_parts_that_look_alike_are_told_apart(parts):
    others = [[*parts[:i], [*parts[i:]]] for i in range(len(parts) + 1)]
    assert len({content_key(*each) for each in [parts, *others]}) == len(others) + 1


def test_what_is_nearly_the_same_differs():
    zero = np.zeros((2, 3), np.float32)
    different = [
        ("a", "bc"), ("ab", "c"), ("abc",), (b"abc",), (["a", "bc"],), (["a"], "bc"),
        (1,), ("1",), (1.0,), (True,), (b"\x01",), (np.int64(1),), (np.float64(1),), (np.array([1]),),
        (0.0,), (-0.0,), (None,), (False,), ("",), (b"",), ([],), ([[]],), (), (float("nan"),),
        (zero,), (zero.T,), (zero.reshape(6),), (zero.astype(np.float64),), (zero.view(np.int32),),
        (2**64,), (-(2**64),), (255,), (-1,),
    ]  # fmt: skip
    assert not [pair for pair in combinations(different, 2) if content_key(*pair[0]) == content_key(*pair[1])]


def test_what_is_the_same_agrees():
    array = np.arange(12).reshape(3, 4)
    assert content_key(array.T) == content_key(np.ascontiguousarray(array.T))
    assert content_key([1, "a"]) == content_key((1, "a"))
    assert content_key(b"ab") == content_key(bytearray(b"ab")) == content_key(memoryview(b"ab"))
    assert content_key(Fill.auto) == content_key("auto")
    assert content_key("\ud800") != content_key("?")


@pytest.mark.parametrize("part", [{1}, {"a": 1}, object(), np.array([None]), np.array(["a"]), 1j, np.longdouble(1)])
def test_what_has_no_lasting_bytes_is_refused(part):
    with pytest.raises(TypeError, match="a key cannot be made of"):
        content_key("x", [part])


def test_a_key_is_the_same_in_another_process():
    program = "from salip_exp.cache._base import content_key; print(content_key('a', 1, 0.5, None, [True, b'x']))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == content_key("a", 1, 0.5, None, [True, b"x"])
    assert (
        content_key("a", 1, 0.5, None, [True, b"x"]) == "b3456434efdc5fb022f6a0ea90416572d5a22ff5"
    )  # as in caches that exist
