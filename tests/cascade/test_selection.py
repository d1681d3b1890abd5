"""Suppression and clean-up keep each candidate's identity."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchvision.ops import box_iou

from salip_exp.cascade.selection import Selection, clean, suppress

corners = hnp.arrays(np.int64, st.tuples(st.integers(0, 30), st.just(4)), elements=st.integers(0, 20))


def selection_of(masks: np.ndarray) -> Selection:
    n = len(masks)
    boxes = np.array([[x.min(), y.min(), x.max(), y.max()] for y, x in map(np.nonzero, masks)]).reshape(n, 4)
    return Selection(masks, boxes, np.arange(n, dtype=np.float32), np.ones(n, np.float32), np.zeros((n, 2)), boxes)


@given(corners, st.floats(0, 1), st.randoms(use_true_random=False))
def test_suppression_keeps_distinct_rows_best_first(boxes, threshold, random):
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = torch.tensor([random.choice([0.1, 0.5, 0.9]) for _ in boxes])
    kept = suppress(boxes, scores, threshold)
    assert len(set(kept.tolist())) == len(kept)
    assert (np.diff(scores[kept].numpy()) <= 0).all()
    overlap = box_iou(torch.as_tensor(boxes[kept]).float(), torch.as_tensor(boxes[kept]).float())
    overlap.fill_diagonal_(0)
    assert not (overlap > threshold + 1e-6).any()
    assert len(boxes) == 0 or len(kept) > 0


def test_small_holes_are_filled_and_small_islands_dropped():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5:7, 5:7] = False
    mask[17, 17:19] = True
    cleaned = clean(selection_of(mask[None]), min_area=5, nms_thresh=0.7)
    expected = np.zeros((20, 20), bool)
    expected[2:12, 2:12] = True
    np.testing.assert_array_equal(cleaned.masks[0], expected)
    np.testing.assert_array_equal(cleaned.boxes[0], [2, 2, 11, 11])


def test_of_duplicates_after_cleaning_the_untouched_mask_wins():
    whole = np.zeros((20, 20), bool)
    whole[2:12, 2:12] = True
    holed = whole.copy()
    holed[5, 5] = False
    cleaned = clean(selection_of(np.stack([holed, whole])), min_area=5, nms_thresh=0.7)
    assert cleaned.predicted_iou.tolist() == [1.0]


def test_an_untouched_empty_mask_keeps_its_box():
    empty = np.zeros((1, 30, 30), bool)
    corner = np.array([[7, 9, 7, 9]])
    one = np.ones(1, np.float32)
    cleaned = clean(Selection(empty, corner, one, one, np.zeros((1, 2)), corner), min_area=5, nms_thresh=0.7)
    np.testing.assert_array_equal(cleaned.boxes, corner)
