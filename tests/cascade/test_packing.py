"""Masks packed by tensor operations are those that numpy packs, to the byte."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from salip_exp.cascade.packing import _pack_on_device, hold, release
from salip_exp.cascade.pool import Masks, pack

stacks = hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 40)))


@given(stacks, st.data())
def test_tensor_operations_pack_as_numpy_does(masks, data):
    n, shape = len(masks), masks.shape[1:]
    cut = data.draw(st.integers(0, n))
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    halves = [torch.from_numpy(masks[:cut]), torch.from_numpy(masks[cut:])]
    expected = pack(masks[keep])
    for packer in (hold, _pack_on_device):
        found = release(shape, [packer(each) for each in halves], torch.from_numpy(keep))
        np.testing.assert_array_equal(found.windows, expected.windows)
        np.testing.assert_array_equal(found.dense(), masks[keep])
        assert found.windows.dtype == expected.windows.dtype
        assert found.shape == shape
    np.testing.assert_array_equal(found.bits, expected.bits)
    np.testing.assert_array_equal(found.starts, expected.starts)


def test_a_cpu_packs_by_numpy():
    assert isinstance(hold(torch.ones(1, 2, 3, dtype=torch.bool)), Masks)
