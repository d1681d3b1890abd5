"""Packed masks are the masks, whatever is done with them; equation 2 drops candidates that are not strictly smaller."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from segment_anything.utils.amg import batched_mask_to_box

from salip_exp.cascade.pool import concatenate, keep_small, mask_iou, pack, place
from salip_exp.config import AreaConfig, AreaUnit

stacks = hnp.arrays(bool, st.tuples(st.integers(0, 6), st.integers(1, 20), st.integers(1, 20)))


@given(stacks)
def test_packing_loses_nothing(masks):
    packed = pack(masks)
    np.testing.assert_array_equal(packed.dense(), masks)
    np.testing.assert_array_equal(packed.areas, masks.sum(axis=(1, 2)))
    np.testing.assert_array_equal(packed.boxes, batched_mask_to_box(torch.from_numpy(masks)))
    assert packed.bits.nbytes <= masks.shape[0] * masks.shape[1] * -(-masks.shape[2] // 8)


@given(stacks, st.data())
def test_selecting_and_joining_keep_the_order(masks, data):
    packed = pack(masks)
    rows = np.array(data.draw(st.lists(st.integers(0, len(masks) - 1))) if len(masks) else [], dtype=np.int64)
    chosen = packed.select(rows)
    np.testing.assert_array_equal(chosen.dense(), masks[rows])
    both = concatenate(packed.shape, [chosen, packed])
    np.testing.assert_array_equal(both.dense(), np.concatenate([masks[rows], masks]))
    alone = concatenate(packed.shape, [chosen])
    assert len(alone.bits) <= max(1, len(rows)) * max(1, len(packed.bits))
    np.testing.assert_array_equal(alone.dense(), masks[rows])


@given(stacks, st.integers(0, 3), st.integers(0, 5))
def test_a_crop_lies_where_it_was_cut(masks, top, left):
    height, width = masks.shape[1:]
    frame = np.zeros((len(masks), height + 4, width + 6), bool)
    frame[:, top : top + height, left : left + width] = masks
    placed = place(pack(masks), frame.shape[1:], top, left)
    np.testing.assert_array_equal(placed.dense(), frame)
    np.testing.assert_array_equal(placed.digests, pack(frame).digests)


@given(stacks)
def test_equal_masks_have_equal_digests_and_others_not(masks):
    names = [each.tobytes() for each in pack(masks).digests]
    for i, first in enumerate(masks):
        for j, second in enumerate(masks):
            assert (names[i] == names[j]) == np.array_equal(first, second)


@given(stacks, st.data())
def test_intersections_are_counted_in_pixels(masks, data):
    region = data.draw(hnp.arrays(bool, masks.shape[1:]))
    np.testing.assert_array_equal(pack(masks).intersections(region), (masks & region).sum(axis=(1, 2)))


def test_overlap_of_nothing_is_nothing():
    empty, full = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    assert mask_iou(empty, empty) == 0
    assert mask_iou(full, full) == 1
    assert mask_iou(full, empty) == 0


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
