"""A stage is charged with the DSC that it took out of reach, by what boxes prompt, as the module documents."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.cascade.pool import Pool, candidate_ious, pack
from salip_exp.config import Config, DatasetConfig
from salip_exp.data._regions import regions
from salip_exp.data.case import Case
from salip_exp.evaluation.attribution import attribute, roi_recall
from salip_exp.evaluation.metrics import dice, iou
from salip_exp.methods import traits
from salip_exp.methods.base import Prediction, Status
from salip_exp.methods.bounds import prompt_boxes
from salip_exp.methods.traits import METHODS, Chooser, Traits

SHAPE = (8, 40)


def block(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[2:6, x0:x1] = True
    return mask


LEFT, RIGHT, ELSEWHERE, NOTHING = block(0, 10), block(20, 30), block(32, 40), block(0, 0)
BOTH, TOUCHING = LEFT | RIGHT, block(0, 20)
NEARLY, HALF = block(0, 9), block(0, 5)


def config(method: str = "salip", k: int = 1) -> Config:
    return Config(method=method, dataset=DatasetConfig(name="blocks", layout="folder", k=k))


def case(target: np.ndarray | None) -> Case:
    return Case("case", "blocks", "all", np.zeros((*SHAPE, 3), np.uint8), target, None, "s")


class Sam:
    """Stands for SAM's last stage: a box prompts what is inside it, unless something else is said of it."""

    def __init__(self, **other: np.ndarray) -> None:
        self.other = {int(name[1:]): mask for name, mask in other.items()}
        self.asked = 0

    def __call__(self, boxes):
        self.asked += len(boxes)
        masks = [self.other.get(int(x0), block(int(x0), int(x1) + 1)) for x0, _, x1, _ in boxes]
        return pack(np.stack(masks) if masks else np.zeros((0, *SHAPE), bool))


def prediction(candidates, kept, taken, sam=None, mask=None) -> Prediction:
    """What a method with a second prompt makes of these candidates; one without where there is no SAM."""
    masks = np.stack(candidates) if candidates else np.zeros((0, *SHAPE), bool)
    n = len(masks)
    columns = [np.flatnonzero(each.any(axis=0)) for each in masks]
    boxes = np.array([[xs.min(), 2, xs.max(), 5] for xs in columns], np.float32).reshape(n, 4)
    flat = np.zeros(n, np.float32)
    pool = Pool(np.arange(n) + 10, pack(masks), boxes, masks.sum((1, 2)), flat, flat)
    if mask is None:
        mask = (pool.masks if sam is None else sam(boxes)).select(np.array(taken, np.int64)).dense().any(axis=0)
    ids = [each + 10 for each in taken]
    chosen = np.array(kept, np.int64) + 10
    return Prediction(mask, Status.ok, pool, chosen, flat[: len(kept)], ids, [0.0] * len(ids), boxes, prompted=sam)


@pytest.mark.parametrize(
    ("failure", "k", "target", "candidates", "kept", "taken", "sam"),
    [
        ("none", 1, LEFT, [LEFT, RIGHT], [0, 1], [0], Sam()),
        ("sam", 1, LEFT, [RIGHT], [0], [0], Sam()),
        ("sam", 1, LEFT, [], [], [], Sam()),
        ("filter", 1, LEFT, [LEFT, RIGHT], [1], [1], Sam()),
        ("clip", 1, LEFT, [LEFT, RIGHT], [0, 1], [1], Sam()),
        ("prompt", 1, LEFT, [LEFT, RIGHT], [0, 1], [0], Sam(x0=block(0, 2))),
        ("none", 2, BOTH, [LEFT, RIGHT], [0, 1], [0, 1], Sam()),
        ("sam", 2, BOTH, [LEFT], [0], [0], Sam()),
        ("filter", 2, BOTH, [LEFT, RIGHT], [0], [0], Sam()),
        ("duplicate", 2, BOTH, [LEFT, NEARLY, RIGHT], [0, 1, 2], [0, 1], Sam()),
        ("clip", 2, BOTH, [LEFT, RIGHT, ELSEWHERE], [0, 1, 2], [0, 2], Sam()),
        ("clip", 2, BOTH, [LEFT, RIGHT], [0, 1], [0], Sam()),  # two texts that want the same candidate take it once
    ],
)
def test_the_stage_that_took_most_out_of_reach_has_lost_the_case(failure, k, target, candidates, kept, taken, sam):
    made = prediction(candidates, kept, taken, sam)
    found = attribute(case(target), made, config(k=k))
    assert found.failure == failure
    assert sum(found.charges.values()) == pytest.approx(1 - dice(made.mask, target), abs=1e-12)
    assert list(found.charges) == ["prompt", "sam", "filter", "clip"]


def test_a_ring_whose_box_is_perfect_is_no_loss_and_what_sam_makes_of_the_box_is_the_prompts():
    ring = block(0, 10)
    ring[3:5, 1:9] = False  # an IoU of 0.6, or less, with what it surrounds
    good = attribute(case(LEFT), prediction([ring, RIGHT], [0, 1], [0], Sam()), config())
    assert good.failure == "none" and set(good.charges.values()) == {0.0}
    lost = attribute(case(LEFT), prediction([ring, RIGHT], [0, 1], [0], Sam(x0=HALF)), config())
    assert lost.failure == "prompt" and lost.charges["prompt"] == pytest.approx(1 - dice(HALF, LEFT))


def test_organs_that_touch_are_found_by_two_boxes():
    parts = [block(10, 20), block(20, 30), ELSEWHERE]
    target, one_box = block(10, 30), block(12, 15)
    both = attribute(case(target), prediction(parts, [0, 1, 2], [0, 1], Sam()), config(k=2))
    assert both.failure == "none" and set(both.charges.values()) == {0.0}
    missed = attribute(case(target), prediction(parts, [0, 1, 2], [0, 2], Sam()), config(k=2))
    assert missed.failure == "clip"

    def sam(boxes):
        """The box around both prompts neither."""
        return pack(np.stack([one_box if x1 - x0 > 15 else block(int(x0), int(x1) + 1) for x0, _, x1, _ in boxes]))

    absent = attribute(case(target), prediction(parts[1:], [0, 1], [0, 1], sam), config(k=2))
    assert absent.charges["prompt"] == 0 and absent.failure == "sam", "boxes of the halves would have done"


def test_a_speck_of_the_annotation_is_no_organ_that_somebody_lost():
    speck = block(35, 36) & (np.arange(8)[:, None] == 3)
    found = attribute(case(LEFT | speck), prediction([LEFT, ELSEWHERE], [0, 1], [0, 1], Sam()), config(k=2))
    assert found.failure == "clip", "it took a candidate too many"
    found = attribute(case(LEFT | speck), prediction([LEFT, ELSEWHERE], [0, 1], [0], Sam()), config(k=2))
    assert found.failure == "none" and found.best_candidate_iou == 1


def test_the_box_of_the_target_shows_what_the_pool_lacks():
    found = attribute(case(LEFT), prediction([HALF], [0], [0], Sam(x0=HALF)), config())
    assert found.charges["prompt"] > 0, "SAM makes no more of the target's box"
    found = attribute(case(LEFT), prediction([block(1, 5)], [0], [0], Sam()), config())
    assert found.charges == pytest.approx({"prompt": 0, "sam": 1 - dice(block(1, 5), LEFT), "filter": 0, "clip": 0})


def test_every_box_is_asked_for_once():
    sam = Sam()
    made = prediction([LEFT, RIGHT, ELSEWHERE], [0, 1], [0], sam)
    sam.asked = 0
    attribute(case(BOTH), made, config(k=2))
    assert sam.asked == 3 + 2  # pool, target


def test_without_a_second_prompt_a_candidate_is_worth_its_own_mask():
    made = prediction([LEFT, NEARLY, RIGHT], [1, 2], [2])
    found = attribute(case(LEFT), made, config("sam_clip"))
    nearly = dice(NEARLY, LEFT)
    assert found.charges == pytest.approx({"sam": 0, "filter": 1 - nearly, "clip": nearly})
    assert found.failure == "clip"


def test_methods_without_a_pool_choose_nothing():
    boxes = np.array([[0, 0, 5, 5]], np.float32)
    with_boxes = attribute(case(LEFT), Prediction(HALF, Status.ok, boxes=boxes), config("gt_sam"))
    without = attribute(case(LEFT), Prediction(NOTHING, Status.ok), config("unprompted_sam"))
    assert (with_boxes.failure, without.failure) == ("prompt", "sam")
    assert (with_boxes.charges, without.charges) == ({"prompt": 1 - dice(HALF, LEFT)}, {"sam": 1.0})
    assert with_boxes.best_candidate_iou is None
    looked = attribute(case(LEFT), Prediction(HALF, Status.ok, boxes=boxes), config("saliency"))
    assert looked.charges == {"clip": 1 - dice(HALF, LEFT)}


def test_without_a_target_or_sam_there_is_nothing_to_charge():
    assert attribute(case(NOTHING), Prediction(LEFT, Status.ok), config()) is None
    assert attribute(case(None), Prediction(LEFT, Status.ok), config()) is None
    assert attribute(case(LEFT), Prediction(RIGHT, Status.ok), config("unet")) is None


def test_what_the_oracle_loses_is_never_the_choice():
    found = attribute(case(LEFT), prediction([LEFT, RIGHT], [1], [], Sam()), config("oracle"))
    assert found.charges == {"prompt": 0.0, "sam": 0.0, "filter": 1.0}


def test_the_choice_of_a_rule_of_its_own_is_not_blamed_on_clip(monkeypatch):
    own = Traits("somewhere:Method", sam=True, chooser=Chooser.method)
    monkeypatch.setitem(traits.METHODS.built_in, "own", own)
    pool = [LEFT, NEARLY, RIGHT]
    assert METHODS["own"] is own
    assert attribute(case(LEFT), prediction(pool, [0, 1, 2], [2]), config("own")).failure == "choice"
    assert attribute(case(BOTH), prediction(pool, [0, 1, 2], [0, 1]), config("own", 2)).failure == "duplicate"
    better = attribute(case(LEFT), prediction([NEARLY], [0], [0], mask=LEFT), config("own"))
    assert set(better.charges.values()) == {0.0}, "what it got was in reach"


MASK = st.tuples(st.integers(0, 38), st.integers(1, 20)).map(lambda each: block(each[0], min(40, sum(each))))


def in_reach(masks, target, k) -> float:
    """The highest DSC of all selections, one after the other."""
    chosen = [group for n in range(1, k + 1) for group in combinations(masks, n)]
    return max((dice(np.logical_or.reduce(group), target) for group in chosen), default=0.0)


@given(st.lists(MASK, min_size=1, max_size=7), MASK, MASK, st.integers(1, 2), st.data())
def test_the_charges_are_those_of_trying_every_choice(pool, one, other, k, data):
    """And no choice exceeds what is in reach: nothing has to be made to fit, whatever the cascade may have taken."""
    target = one | other
    kept = sorted(data.draw(st.lists(st.sampled_from(range(len(pool))), unique=True, min_size=1)))
    taken = data.draw(st.lists(st.sampled_from(kept), unique=True, max_size=k))
    sam = Sam(**{f"x{data.draw(st.integers(0, 40))}": data.draw(MASK)})
    made = prediction(pool, kept, taken, sam)
    organs = list(sam(made.pool.boxes))
    sets = prompt_boxes(case(target), target, config(k=k))
    of_target = max(dice(sam(boxes).dense().any(axis=0), target) for boxes in sets)
    of_pool, of_kept = in_reach(organs, target, k), in_reach([organs[row] for row in kept], target, k)
    got = dice(made.mask, target)
    reached = [1.0, max(of_target, of_pool), of_pool, of_kept, got]
    assert reached == sorted(reached, reverse=True)
    charges = attribute(case(target), made, config(k=k)).charges
    assert list(charges.values()) == pytest.approx([a - b for a, b in pairwise(reached)], abs=1e-12)


def test_the_best_candidate_is_that_of_the_region_served_worst():
    made = prediction([LEFT, block(20, 25)], [0, 1], [0, 1], Sam())
    assert attribute(case(BOTH), made, config(k=2)).best_candidate_iou == pytest.approx(0.5)
    assert attribute(case(BOTH), prediction([], [], [], Sam()), config(k=2)).best_candidate_iou == 0


@pytest.mark.fault("P7")
def test_regions_are_the_largest_components_and_specks_are_none():
    speck = block(15, 16)
    expected = [block(20, 31).tolist(), LEFT.tolist()]
    assert [region.tolist() for region in regions(BOTH | speck | block(22, 31), 2)] == expected
    assert regions(BOTH, 1).tolist() == [BOTH.tolist()]
    assert len(regions(LEFT, 2)) == len(regions(LEFT | speck, 2, 10)) == len(regions(speck, 2, 10)) == 1


def test_the_table_of_candidates_is_iou():
    pool = prediction([block(0, 15), RIGHT], [], []).pool
    assert candidate_ious(pool, np.stack([LEFT, RIGHT])) == pytest.approx(
        np.array([[iou(each, roi) for each in pool.masks] for roi in (LEFT, RIGHT)])
    )


def test_the_recall_of_the_roi_that_was_found_worst() -> None:
    found = LEFT | (BOTH & RIGHT)
    half = BOTH & ~RIGHT
    assert roi_recall(BOTH, BOTH, config(k=2)) == 1 and roi_recall(half, BOTH, config(k=2)) == 0
    assert roi_recall(half, BOTH, config(k=1)) == pytest.approx((half & BOTH).sum() / BOTH.sum())
    assert roi_recall(found, None, config(k=2)) is roi_recall(found, np.zeros_like(BOTH), config(k=2)) is None
    touching = np.ones_like(BOTH)
    left = touching.copy()
    left[:, touching.shape[1] // 2 :] = False
    assert roi_recall(left, touching, config(k=2)) == 0, "one of two that touch"
