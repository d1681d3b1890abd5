"""Signals: what they are on predictions written by hand, and what they cost; those of tuning stand with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salip_exp.cascade.pool import pack
from salip_exp.config import ConfidenceConfig
from salip_exp.evaluation._confidence import (
    MOVES,
    SIGNALS,
    _neighbours,
    contrast,
    pair,
    pairwise,
    sentences,
    shape,
    signals,
)
from salip_exp.methods.base import Prediction, Status


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


ORDINARY = list(map(str, ConfidenceConfig().signals))
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


def counting(prediction: Prediction, asked: list[tuple[str, int]], mask: np.ndarray) -> Prediction:
    """SAM gives one mask to all boxes; where it is asked, and about how many, is noted."""

    def of(image: np.ndarray):
        def prompted(boxes: np.ndarray):
            asked.append((str(int(image.mean())), len(boxes)))
            return pack(np.stack([mask for _ in boxes]))

        return prompted

    grey = np.full((20, 30, 3), 100, np.uint8)
    return replace(prediction, prompted=of(grey), retouched=lambda change: of(change(grey)))


def test_an_ensemble_is_all_pairs_of_what_might_as_well_have_been_given(prediction: Prediction) -> None:
    asked: list[tuple[str, int]] = []
    found = counting(prediction, asked, prediction.mask)
    assert signals(found, 2, ["ensemble"]) == {"ensemble": 1.0}
    # Four moves, the neighbours, and the same boxes in the image darker and lighter: seven for each of two boxes.
    assert [n for _, n in asked] == [2] * SIGNALS["ensemble"].decodes == [2] * 7
    assert [tone for tone, _ in asked] == ["100"] * 5 + ["79", "121"]
    # Of nine masks two are the whole, seven its half: 1 + 21 pairs are alike, 14 have a Dice of 2/3.
    assert signals(counting(prediction, asked, LEFT), 2, ["ensemble"])["ensemble"] == pytest.approx(
        (1 + 21 + 14 * 2 / 3) / 36
    )


def test_an_ensemble_asks_for_what_is_chosen_where_a_sentence_is_left_out(prediction: Prediction) -> None:
    asked: list[tuple[str, int]] = []
    torn = np.array([[0.5, 0.9, 0.1], [0.5, 0.1, 0.3], [0.5, 0.1, 0.3]], np.float32)  # the first alone takes the second
    found = replace(counting(prediction, asked, prediction.mask), sentence_scores=torn)
    signals(found, 2, ["ensemble"])
    assert [n for _, n in asked] == [2] * 8, "one other choice, whichever sentence leads to it"
    asked.clear()
    signals(replace(found, sentence_scores=torn[:1]), 2, ["ensemble"])
    assert len(asked) == 7, "one sentence has nothing to be left out"


def test_neighbours_are_the_candidates_that_meet_the_retrieved_ones_most(prediction: Prediction, make_pool) -> None:
    pool = make_pool(np.stack([LEFT, RIGHT, box(0, 0, 11, 9), box(0, 0, 4, 4)]))
    np.testing.assert_array_equal(_neighbours(replace(prediction, pool=pool)), [[0, 0, 11, 9], [15, 0, 24, 9]])
    alone = make_pool(np.stack([LEFT, RIGHT]))
    np.testing.assert_array_equal(_neighbours(replace(prediction, pool=alone)), alone.boxes)


@pytest.mark.parametrize("names", [ORDINARY, ["pairwise"], ["stability"], ["agreement", "shape"]])
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
    assert {SIGNALS[name].decodes for name in ORDINARY} == {0, len(MOVES)}


def test_where_no_boxes_prompt_only_those_are_told_that_need_none(prediction: Prediction) -> None:
    asking = {name for name, signal in SIGNALS.items() if signal.decodes}
    assert asking == {"stability", "pairwise", "ensemble"}
    assert set(signals(prediction, 2, list(SIGNALS))) == set(SIGNALS) - asking - {"contrast"}
    assert signals(replace(prediction, pool=None), 2, list(SIGNALS)) == {}
