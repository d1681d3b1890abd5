"""The failure of a case is the first stage that lost a region, by the rule that the module documents."""

from __future__ import annotations

import numpy as np
import pytest

from salip_exp.cascade.pool import Pool, candidate_ious, pack
from salip_exp.data.regions import regions
from salip_exp.evaluation.attribution import attribute
from salip_exp.evaluation.metrics import iou
from salip_exp.methods.base import Prediction, Status
from salip_exp.methods.traits import METHODS, Chooser, Traits


def block(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((8, 40), bool)
    mask[2:6, x0:x1] = True
    return mask


LEFT, RIGHT, ELSEWHERE, NOTHING = block(0, 10), block(20, 30), block(32, 40), block(0, 0)
BOTH = LEFT | RIGHT


def prediction(mask, candidates, kept, selected) -> Prediction:
    masks = np.stack(candidates) if candidates else np.zeros((0, 8, 40), bool)
    n = len(masks)
    flat = np.zeros(n, np.float32)
    pool = Pool(np.arange(n) + 10, pack(masks), np.zeros((n, 4), np.float32), masks.sum((1, 2)), flat, flat)
    ids = [each + 10 for each in selected]
    return Prediction(mask, Status.ok, pool, np.array(kept, np.int64) + 10, flat[: len(kept)], ids, [0.0] * len(ids))


@pytest.mark.parametrize(
    ("failure", "k", "target", "mask", "candidates", "kept", "selected"),
    [
        ("none", 1, LEFT, LEFT, [LEFT, RIGHT], [0, 1], [0]),
        ("none", 1, LEFT, LEFT, [RIGHT], [0], [0]),  # the wrong box, and the right mask all the same
        ("sam", 1, LEFT, RIGHT, [RIGHT], [0], [0]),
        ("sam", 1, LEFT, NOTHING, [], [], []),
        ("sam", 1, BOTH, block(0, 9), [block(0, 9), block(20, 29)], [0, 1], [0]),  # k = 1: the whole target is one
        ("filter", 1, LEFT, RIGHT, [LEFT, RIGHT], [1], [1]),
        ("clip", 1, LEFT, RIGHT, [LEFT, RIGHT], [0, 1], [1]),
        ("prompt", 1, LEFT, RIGHT, [LEFT, RIGHT], [0, 1], [0]),
        ("prompt", 1, LEFT, block(0, 40), [LEFT], [0], [0]),  # covers the organ, and everything else
        ("none", 2, BOTH, BOTH, [LEFT, RIGHT], [0, 1], [0, 1]),
        ("sam", 2, BOTH, LEFT, [LEFT], [0], [0]),
        ("filter", 2, BOTH, LEFT, [LEFT, RIGHT], [0], [0]),
        ("duplicate", 2, BOTH, LEFT, [LEFT, block(0, 9), RIGHT], [0, 1, 2], [0, 1]),
        ("clip", 2, BOTH, LEFT, [LEFT, RIGHT, ELSEWHERE], [0, 1, 2], [0, 2]),
        ("clip", 2, BOTH, LEFT, [LEFT, RIGHT], [0, 1], [0]),  # two texts that want the same candidate take it once
        ("prompt", 2, BOTH, LEFT, [LEFT, RIGHT], [0, 1], [0, 1]),
    ],
)
def test_the_first_stage_that_lost_a_region_is_to_blame(failure, k, target, mask, candidates, kept, selected):
    assert attribute(prediction(mask, candidates, kept, selected), target, k, METHODS["salip"]).failure == failure


def test_the_best_candidate_is_that_of_the_region_served_worst():
    found = attribute(prediction(BOTH, [LEFT, block(20, 25)], [0, 1], [0, 1]), BOTH, 2, METHODS["salip"])
    assert found.best_candidate_iou == pytest.approx(0.5)
    assert attribute(prediction(BOTH, [], [], []), BOTH, 2, METHODS["salip"]).best_candidate_iou == 0


def test_methods_without_a_pool_have_no_candidate_to_compare():
    boxes = np.array([[0, 0, 5, 5]], np.float32)
    with_boxes = attribute(Prediction(NOTHING, Status.ok, boxes=boxes), LEFT, 1, METHODS["gt_sam"])
    without = attribute(Prediction(NOTHING, Status.ok), LEFT, 1, METHODS["unprompted_sam"])
    assert (with_boxes.failure, without.failure) == ("prompt", "sam")
    assert with_boxes.best_candidate_iou is None


def test_an_empty_target_has_nothing_to_lose():
    assert attribute(Prediction(LEFT, Status.ok), NOTHING, 1, METHODS["salip"]) is None


def test_a_method_that_does_not_ask_sam_has_no_stages_to_blame():
    assert attribute(Prediction(RIGHT, Status.ok), LEFT, 1, METHODS["unet"]) is None


@pytest.mark.fault("P7")
def test_regions_are_the_largest_components_and_specks_are_none():
    speck = block(15, 16)
    assert [region.tolist() for region in regions(BOTH | speck | block(22, 31), 2)] == [
        block(20, 31).tolist(),
        LEFT.tolist(),
    ]
    assert regions(BOTH, 1).tolist() == [BOTH.tolist()]
    assert len(regions(LEFT, 2)) == 1


def test_the_table_of_candidates_is_iou():
    pool = prediction(LEFT, [block(0, 15), RIGHT], [], []).pool
    assert candidate_ious(pool, np.stack([LEFT, RIGHT])) == pytest.approx(
        np.array([[iou(each, roi) for each in pool.masks] for roi in (LEFT, RIGHT)])
    )


def test_where_no_clip_chose_what_was_not_taken_is_the_prompts_loss():
    pool, wrong = [LEFT, RIGHT], np.zeros_like(LEFT)
    chosen = prediction(wrong, pool, [0, 1], [1])
    assert attribute(chosen, LEFT, 1, METHODS["salip"]).failure == "clip"
    assert attribute(chosen, LEFT, 1, METHODS["oracle"]).failure == "prompt"
    assert attribute(prediction(wrong, [RIGHT], [0], [0]), LEFT, 1, METHODS["oracle"]).failure == "sam"


def test_the_choice_of_a_rule_of_its_own_is_not_blamed_on_clip():
    own = Traits("somewhere:Method", sam=True, chooser=Chooser.method)
    pool = [LEFT, block(0, 9), RIGHT]
    assert attribute(prediction(RIGHT, pool, [0, 1, 2], [2]), LEFT, 1, own).failure == "choice"
    assert attribute(prediction(LEFT, pool, [0, 1, 2], [0, 1]), BOTH, 2, own).failure == "duplicate"
