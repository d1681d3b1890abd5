"""Objectives: what they are on predictions written by hand, and that they go with SAM's and CLIP's answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from salip_exp._tuning.objectives import OBJECTIVES, dsc
from salip_exp.config import Config, EmptyTarget, Objective
from salip_exp.data.case import Case
from salip_exp.evaluation._confidence import MOVES, agreement, margin, moved, predicted_iou, stability
from salip_exp.methods.base import Prediction, Status


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


@pytest.fixture
def prediction(make_pool) -> Prediction:
    pool = make_pool(np.stack([box(0, 0, 9, 9), box(15, 0, 24, 9), box(0, 0, 29, 19)]))
    scores = np.array([0.3, 0.2, 0.1], np.float32)
    mask = box(0, 0, 9, 9) | box(15, 0, 24, 4)
    return Prediction(mask, Status.ok, pool, np.arange(3), scores, [0, 1], [0.3, 0.2], pool.boxes[:2])


def nothing(boxes: np.ndarray) -> np.ndarray:
    raise AssertionError("SAM is not asked")


def test_by_hand(prediction: Prediction) -> None:
    assert agreement(prediction, 2) == pytest.approx(2 * 150 / (150 + 200))
    assert predicted_iou(prediction, 2) == 1.0
    assert margin(prediction, 2) == pytest.approx(0.1)
    assert stability(prediction, 2, lambda boxes: prediction.mask) == 1.0
    assert stability(prediction, 2, lambda boxes: box(0, 0, 9, 9)) == pytest.approx(2 * 100 / 250)
    assert dsc(prediction, box(0, 0, 9, 9), EmptyTarget.skip) == pytest.approx(2 * 100 / 250)


def test_a_roi_that_was_not_found_counts_as_zero(prediction: Prediction) -> None:
    assert agreement(prediction, 4) == pytest.approx(agreement(prediction, 2) / 2)
    assert predicted_iou(prediction, 4) == 0.5
    assert margin(prediction, 4) == pytest.approx(0.05)


def test_without_candidates_all_are_zero_and_sam_is_not_asked(make_pool) -> None:
    pool = make_pool(np.zeros((0, 20, 30), bool))
    empty = Prediction(np.zeros((20, 30), bool), Status.no_masks, pool)
    case = Case("case", "stub", "all", np.zeros((20, 30, 3), np.uint8), None, None, "0")
    got = {name: compute(empty, case, Config(), nothing) for name, compute in OBJECTIVES.items()}
    assert list(got) == list(Objective)
    assert math.isnan(got.pop("dsc"))
    assert set(got.values()) == {0.0}


def test_an_only_candidate_stands_above_nothing(prediction: Prediction, make_pool) -> None:
    alone = Prediction(
        prediction.mask,
        Status.ok,
        prediction.pool,
        np.arange(1),
        np.ones(1, np.float32),
        [0],
        [1.0],
        prediction.boxes[:1],
    )
    assert margin(alone, 1) == 0.0


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 200, width=32)))
def test_boxes_move_by_five_percent_of_their_sides(corners: np.ndarray) -> None:
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    for move, found in zip(MOVES, moved(boxes), strict=True):
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        np.testing.assert_allclose(found - boxes, 0.05 * move * sides, atol=1e-3)
