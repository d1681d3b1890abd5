"""Dice, IoU and HD95 are what can be worked out by hand, and keep their algebra on any masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from salip_exp.config import EmptyTarget
from salip_exp.errors import CaseError
from salip_exp.evaluation.metrics import Overlap, dice, hd95, iou, overlap

MASKS = arrays(bool, (6, 5))


def mask(*rows: str) -> np.ndarray:
    return np.array([[each == "#" for each in row] for row in rows])


FULL, EMPTY = mask("####", "####"), mask("....", "....")


@pytest.mark.parametrize(
    ("prediction", "target", "expected_dice", "expected_iou"),
    [
        (FULL, FULL, 1.0, 1.0),
        (mask("##..", "...."), mask(".##.", "...."), 0.5, 1 / 3),
        (mask("##..", "##.."), FULL, 2 / 3, 0.5),
        (mask("#...", "...."), mask("....", "...#"), 0.0, 0.0),
        (FULL, EMPTY, 0.0, 0.0),
        (EMPTY, FULL, 0.0, 0.0),
    ],
)
def test_scores_worked_out_by_hand(prediction, target, expected_dice, expected_iou):
    assert dice(prediction, target) == pytest.approx(expected_dice)
    assert iou(prediction, target) == pytest.approx(expected_iou)


@pytest.mark.parametrize(("policy", "expected"), [("skip", math.nan), ("one", 1.0), ("zero", 0.0)])
def test_two_empty_masks_are_scored_by_policy(policy, expected):
    for score in (dice, iou):
        assert score(EMPTY, EMPTY, EmptyTarget(policy)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.fault("D4", "P4")
def test_shapes_that_differ_are_refused_even_where_they_would_broadcast():
    with pytest.raises(CaseError, match="same size") as caught:
        dice(np.ones((1, 4), bool), np.ones((4, 4), bool))
    assert caught.value.code == "E_SHAPE"


@given(MASKS, MASKS)
def test_dice_and_iou_keep_their_algebra(a, b):
    d, i = dice(a, b, EmptyTarget.one), iou(a, b, EmptyTarget.one)
    assert d == dice(b, a, EmptyTarget.one)
    assert i == iou(b, a, EmptyTarget.one)
    assert 0 <= i <= d <= 1
    assert d == pytest.approx(2 * i / (1 + i))


@given(MASKS, MASKS, MASKS, MASKS)
def test_overlaps_of_slices_add_up_to_the_overlap_of_their_volume(a, b, c, d):
    whole = overlap(np.concatenate([a, c]), np.concatenate([b, d]))
    assert overlap(a, b) + overlap(c, d) == whole


def test_a_volume_weighs_its_slices_by_size():
    small, large = Overlap(0, 1, 1), Overlap(100, 100, 100)
    assert (small + large).dice() == pytest.approx(200 / 202)


def test_hd95_is_in_millimetres_along_each_axis():
    a, b = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    a[4, 4] = b[4, 6] = True
    assert hd95(a, b, (1.0, 0.5)) == pytest.approx(1.0)
    assert hd95(a.T, b.T, (3.0, 0.5)) == pytest.approx(6.0)


def test_hd95_takes_the_worse_direction_and_the_percentile():
    a, b = np.zeros((3, 60), bool), np.zeros((3, 60), bool)
    a[1, :1] = b[1, :41] = True
    assert hd95(a, b, (1.0, 1.0)) == pytest.approx(np.percentile(np.arange(41), 95))


@pytest.mark.parametrize(("a", "b", "spacing"), [(EMPTY, FULL, (1, 1)), (FULL, EMPTY, (1, 1)), (FULL, FULL, None)])
def test_hd95_is_missing_where_there_is_no_distance(a, b, spacing):
    assert math.isnan(hd95(a, b, spacing))


@given(MASKS, st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)))
def test_hd95_of_a_mask_with_itself_is_nothing(a, spacing):
    assert not a.any() or hd95(a, a, spacing) == 0


def test_precision_and_recall_are_shares_of_what_is_there() -> None:
    assert (Overlap(2, 4, 8).precision, Overlap(2, 4, 8).recall) == (0.5, 0.25)
    assert (Overlap(0, 0, 8).precision, Overlap(0, 4, 0).recall) == (None, None)
