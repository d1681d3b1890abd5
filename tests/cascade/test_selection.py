"""Suppression and clean-up keep each candidate's identity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchvision.ops import box_iou

from salip_exp.cascade.candidates import Candidates
from salip_exp.cascade.everything import _clean_masks, clean, suppress
from salip_exp.cascade.pool import pack

corners = hnp.arrays(np.int64, st.tuples(st.integers(0, 30), st.just(4)), elements=st.integers(0, 20))


def rows_of(masks: np.ndarray, boxes: np.ndarray | None = None) -> Candidates:
    n, packed = len(masks), pack(masks)
    boxes = packed.boxes if boxes is None else boxes
    return Candidates(np.arange(n, dtype=np.float32), np.ones(n, np.float32), boxes, np.zeros((n, 2)), boxes, packed)


def cleaned_of(masks: np.ndarray, min_area: int, boxes: np.ndarray | None = None) -> Candidates:
    rows = rows_of(masks, boxes)
    return clean(rows, _clean_masks(rows.masks, min_area), 0.7)


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
    cleaned = cleaned_of(mask[None], 5)
    expected = np.zeros((20, 20), bool)
    expected[2:12, 2:12] = True
    np.testing.assert_array_equal(cleaned.masks[0], expected)
    np.testing.assert_array_equal(cleaned.boxes[0], [2, 2, 11, 11])


def test_of_duplicates_after_cleaning_the_untouched_mask_wins():
    whole = np.zeros((20, 20), bool)
    whole[2:12, 2:12] = True
    holed = whole.copy()
    holed[5, 5] = False
    cleaned = cleaned_of(np.stack([holed, whole]), 5)
    assert cleaned.predicted_iou.tolist() == [1.0]


@pytest.mark.fault("P3")
def test_an_untouched_empty_mask_keeps_its_box():
    empty = np.zeros((1, 30, 30), bool)
    corner = np.array([[7, 9, 7, 9]])
    cleaned = cleaned_of(empty, 5, corner)
    np.testing.assert_array_equal(cleaned.boxes, corner)
