"""Equation 2 drops candidates that are not strictly smaller than the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from salip_exp.cascade.pool import keep_small
from salip_exp.config import AreaConfig, AreaUnit


@pytest.fixture
def ten_masks(make_pool):
    """Areas 0, 10, ... 90 of 100 pixels."""
    masks = np.zeros((10, 10, 10), bool)
    for rows in range(10):
        masks[rows, :rows] = True
    return make_pool(masks)


def test_the_threshold_itself_is_dropped(ten_masks):
    assert keep_small(ten_masks, AreaConfig(threshold=0.5)).areas.tolist() == [0, 10, 20, 30, 40]
    assert keep_small(ten_masks, AreaConfig(threshold=50, unit=AreaUnit.pixels)).areas.tolist() == [0, 10, 20, 30, 40]
    assert keep_small(ten_masks, AreaConfig(threshold=51, unit=AreaUnit.pixels)).areas.max() == 50


def test_disabled_keeps_everything(ten_masks):
    assert keep_small(ten_masks, AreaConfig(enabled=False, threshold=0.0)) is ten_masks


@given(hnp.arrays(bool, st.tuples(st.integers(0, 8), st.just(4), st.just(5))), st.floats(0, 1))
def test_survivors_keep_their_identity(make_pool, masks, threshold):
    kept = keep_small(make_pool(masks), AreaConfig(threshold=threshold))
    np.testing.assert_array_equal(kept.masks.dense(), masks[kept.ids])
    assert kept.ids.tolist() == [i for i, mask in enumerate(masks) if mask.sum() < threshold * 20]
