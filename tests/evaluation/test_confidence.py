"""Signals: what they are on predictions written by hand, and what they cost; those of tuning stand with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salip_exp.cascade.pool import pack
from salip_exp.evaluation._confidence import MOVES, SIGNALS, contrast, pair, pairwise, sentences, shape, signals
from salip_exp.methods.base import Prediction, Status


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


LEFT, RIGHT = box(0, 0, 9, 9), box(15, 0, 24, 9)


@pytest.fixture
def prediction(make_pool) -> Prediction:
    pool = make_pool(np.stack([LEFT, RIGHT, box(0, 0, 29, 19)]))
    scores = np.array([0.3, 0.2, 0.1], np.float32)
    return Prediction(LEFT | RIGHT, Status.ok, pool, np.arange(3), scores, [0, 1], [0.3, 0.2], pool.boxes[:2])


def of_mask(mask: np.ndarray) -> Prediction:
    return Prediction(mask, Status.ok)


def test_pairwise_is_the_mean_over_all_pairs(prediction: Prediction) -> None:
    halves = iter([LEFT, RIGHT, LEFT, RIGHT])
    # The whole with each half is 2/3, 4 times; a half with the same is 1, twice; with the other 0, 4 times.
    assert pairwise(prediction, 2, lambda boxes: next(halves)) == pytest.approx((4 * 2 / 3 + 2) / 10)
    assert pairwise(prediction, 2, lambda boxes: prediction.mask) == 1.0


def test_sentences_count_the_picks_that_are_shared(prediction: Prediction) -> None:
    each = np.array([[0.3, 0.2, 0.1], [0.3, 0.1, 0.2]], np.float32)  # the second retrieves the first and the third
    assert sentences(replace(prediction, sentence_scores=each), 2) == 0.75
    assert sentences(prediction, 2) == 0.0


def test_contrast_is_to_the_best_of_what_else_it_could_be(prediction: Prediction) -> None:
    others = np.array([[0.0, 0.15, 9.0], [0.1, 0.0, 9.0]], np.float32)
    assert contrast(replace(prediction, contrast_scores=others), 2) == pytest.approx(0.05)
    assert contrast(prediction, 2) == 0.0


def test_shape_falls_with_holes_specks_and_missing_parts() -> None:
    assert shape(of_mask(LEFT), 1) == 1.0
    assert shape(of_mask(LEFT & ~box(4, 4, 5, 5)), 1) == pytest.approx(96 / 100)
    assert shape(of_mask(LEFT | box(29, 19, 29, 19)), 1) == pytest.approx(100 / 101)
    assert shape(of_mask(LEFT), 2) == 0.5
    assert shape(of_mask(np.zeros((20, 30), bool)), 1) == 0.0


def test_a_pair_lies_side_by_side_and_is_alike() -> None:
    assert pair(of_mask(LEFT), 1) == pair(of_mask(LEFT | RIGHT), 2) == 1.0
    assert pair(of_mask(LEFT), 2) == 0.0
    assert pair(of_mask(LEFT | box(15, 0, 24, 4)), 2) == 0.5, "areas and rows"
    assert pair(of_mask(LEFT | box(0, 12, 9, 19)), 2) == 0.0, "one below the other"


@pytest.mark.parametrize("names", [list(SIGNALS), ["pairwise"], ["stability"], ["agreement", "shape"]])
def test_signals_share_what_sam_is_asked_and_it_is_asked_no_more_than_they_say(
    prediction: Prediction, names: list[str]
) -> None:
    asked = []

    def prompted(boxes: np.ndarray):
        asked.extend(boxes)
        return pack(np.stack([prediction.mask for _ in boxes]))

    others = prediction.kept_scores[None]
    found = signals(replace(prediction, prompted=prompted, contrast_scores=others), 2, names)
    assert list(found) == names
    assert len(asked) == len(prediction.boxes) * max(SIGNALS[name].decodes for name in names)
    assert {signal.decodes for signal in SIGNALS.values()} == {0, len(MOVES)}


def test_where_no_boxes_prompt_only_those_are_told_that_need_none(prediction: Prediction) -> None:
    assert set(signals(prediction, 2, list(SIGNALS))) == set(SIGNALS) - {"stability", "pairwise", "contrast"}
    assert signals(replace(prediction, pool=None), 2, list(SIGNALS)) == {}
