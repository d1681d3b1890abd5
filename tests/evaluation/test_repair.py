"""Repair: the unflagged stays to the bit, what is taken is believed in by more than noise, and steps are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salip_exp.cascade.organ import Hint
from salip_exp.cascade.pool import Masks, pack
from salip_exp.config import ClipConfig, Config, DatasetConfig, RepairConfig, RepairStep, SamConfig, VdtConfig
from salip_exp.evaluation._assessment import Assessment, Assessor
from salip_exp.evaluation._repair import STEPS, Outcome, assessed, repooled
from salip_exp.evaluation.flags import Stage
from salip_exp.methods.base import Prediction, Status


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 40), bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


CANDIDATES = np.stack([box(1, 2, 10, 15), box(2, 2, 11, 15), box(25, 2, 34, 15), box(25, 17, 28, 18)])


class Sam:
    """Fills every box, and counts them."""

    def __init__(self) -> None:
        self.asked, self.told = 0, []

    def __call__(self, boxes: np.ndarray, *, hints: list[Hint] | None = None) -> Masks:
        self.asked += len(boxes)
        self.told += hints or []
        return pack(np.stack([box(*np.clip(np.round(each), 0, 39).astype(int)) for each in boxes]))


class Stub(Assessor):
    """Believes in a prediction by a number made of it, and flags what lies below one half."""

    def __init__(self, value, signals=lambda found: {}) -> None:
        self.value, self.signals, self.calls = value, signals, 0

    def __call__(self, prediction: Prediction) -> Assessment:
        self.calls += 1
        confidence = float(self.value(prediction))
        return Assessment(self.signals(prediction), confidence, 0.0, Stage.prompt if confidence < 0.5 else None)


def config(k: int = 2, **repair) -> Config:
    data = DatasetConfig("stub", "folder", k=k)
    parts = {"sam": SamConfig("tiny"), "clip": ClipConfig("tiny"), "vdt": VdtConfig("stub")}
    return Config(dataset=data, **parts, repair=RepairConfig(**({"enabled": True} | repair)))


@pytest.fixture
def sam() -> Sam:
    return Sam()


@pytest.fixture
def prediction(make_pool, sam: Sam) -> Prediction:
    pool, scores = make_pool(CANDIDATES), np.array([0.9, 0.8, 0.7, 0.1], np.float32)
    found = Prediction(
        CANDIDATES[:2].any(axis=0), Status.ok, pool, np.arange(4), scores, [0, 1], [0.9, 0.8], pool.boxes[:2]
    )
    return replace(found, prompted=sam)


def test_what_is_not_flagged_is_the_very_same_and_sam_is_not_asked(prediction: Prediction, sam: Sam) -> None:
    stub = Stub(lambda found: 0.5)
    outcome = assessed(prediction, stub, config())
    assert outcome == Outcome(prediction, Assessment({}, 0.5, 0.0, None)) and outcome.prediction is prediction
    assert (stub.calls, sam.asked) == (1, 0)


@pytest.mark.parametrize("changes", [{"enabled": False}, {"steps": []}, {"margin": 1.0}])
def test_nothing_is_changed_where_it_is_not_asked_for(prediction: Prediction, changes: dict) -> None:
    outcome = assessed(prediction, Stub(lambda found: 0.9 * (found is not prediction)), config(**changes))
    assert outcome.prediction is prediction and outcome.step is None and outcome.believed.flag is Stage.prompt


def test_a_rise_within_the_margin_is_noise(prediction: Prediction) -> None:
    def believed(found: Prediction) -> float:
        return 0.1 + 0.04 * (found is not prediction)

    assert assessed(prediction, Stub(believed), config()).step is None
    taken = assessed(prediction, Stub(believed), config(margin=0.03))
    assert taken.step is RepairStep.grow and (taken.first, taken.believed.confidence) == (0.1, 0.14)


@pytest.mark.parametrize(("name", "taken"), [("pair", False), ("shape", False), ("margin", True)])
def test_a_rise_is_not_bought_with_another_measure_of_the_mask(prediction: Prediction, name: str, taken: bool) -> None:
    stub = Stub(lambda found: 0.9 * (found is not prediction), lambda found: {name: 0.9 * (found is prediction)})
    assert (assessed(prediction, stub, config()).step is not None) is taken


def test_one_organ_that_was_taken_twice_becomes_a_pair(prediction: Prediction) -> None:
    def believed(found: Prediction) -> float:
        return 0.9 if set(found.selected_ids) == {0, 2} else 0.1

    outcome = assessed(prediction, Stub(believed), config(steps=[RepairStep.pairs]))
    assert outcome.step is RepairStep.pairs and outcome.believed.flag is None
    np.testing.assert_array_equal(outcome.prediction.mask, CANDIDATES[0] | CANDIDATES[2])
    np.testing.assert_array_equal(outcome.prediction.boxes, prediction.pool.boxes[[0, 2]])
    assert outcome.prediction.selected_scores == pytest.approx([0.9, 0.7])
    assert not list(STEPS[RepairStep.pairs](prediction, config(1)))


def test_no_candidate_is_tried_that_meets_another(prediction: Prediction) -> None:
    apart = replace(prediction, selected_ids=[0, 2], selected_scores=[0.9, 0.7])
    tried = [set(each.selected_ids) for each in STEPS[RepairStep.candidates](apart, config())]
    assert tried == [{1, 2}, {2, 3}, {0, 3}], "the first two candidates meet"


def test_steps_end_with_the_first_that_lifts_the_flag(prediction: Prediction) -> None:
    stub = Stub(lambda found: 0.1 if found is prediction else 0.8)
    assert assessed(prediction, stub, config(steps=[RepairStep.vote, RepairStep.grow])).step is RepairStep.vote
    assert stub.calls == 2


@pytest.mark.parametrize(
    ("step", "boxes"),
    [
        *[("grow", 2), ("iterate", 4), ("union", 8), ("vote", 8), ("candidates", 4 * 2), ("pairs", 2 * 4)],
        *[("points", 2), ("mask", 2)],
    ],
)
def test_each_step_costs_what_it_costs(prediction: Prediction, sam: Sam, step: str, boxes: int) -> None:
    attempts = list(STEPS[RepairStep(step)](prediction, config()))
    assert sam.asked == boxes and attempts
    assert all(each.mask.shape == prediction.mask.shape and each.mask.any() for each in attempts)
    assert set(STEPS) == set(RepairStep)


def test_an_ensemble_is_between_its_smallest_and_its_largest(prediction: Prediction) -> None:
    (union,), (vote,) = (STEPS[step](prediction, config()) for step in (RepairStep.union, RepairStep.vote))
    assert (union.mask >= prediction.mask).all() and (union.mask >= vote.mask).all()


def test_sam_is_told_the_candidate_of_each_box(prediction: Prediction, sam: Sam) -> None:
    apart = replace(prediction, selected_ids=[2, 0], boxes=prediction.pool.boxes[[2, 0]])
    list(STEPS[RepairStep.points](apart, config()))
    for hint, mask in zip(sam.told, CANDIDATES[[2, 0]], strict=True):
        (x, y, label), masks = hint.points[0].astype(int), hint.mask
        assert masks is None and label == 1 and mask[y - 4 : y + 5, x - 4 : x + 5].all(), "as deep as it is wide"
    sam.told.clear()
    list(STEPS[RepairStep.mask](apart, config()))
    np.testing.assert_array_equal([hint.mask for hint in sam.told], CANDIDATES[[2, 0]])


@pytest.mark.parametrize(("step", "asked"), [("grid", (16, 0)), ("crops", (8, 1))])
def test_the_cascade_is_asked_again_with_other_candidates(prediction: Prediction, step: str, asked: tuple) -> None:
    seen = []

    def again(sam: SamConfig) -> Prediction:
        seen.append((sam.points_per_side, sam.crop_n_layers))
        return replace(prediction, selected_ids=[0, 2])

    one, chosen = RepairStep(step), replace(config(), sam=SamConfig("tiny", points_per_side=8))
    (attempt,) = STEPS[one](replace(prediction, again=again), chosen)
    assert seen == [asked] and attempt.selected_ids == [0, 2]
    assert list(STEPS[one](prediction, chosen)) == [], "not every method can be"
    assert repooled(replace(prediction, again=again), one, chosen).selected_ids == [0, 2]
    assert repooled(prediction, RepairStep.grow, chosen) is repooled(prediction, one, chosen) is prediction


def test_the_default_ladder_is_that_of_before() -> None:
    assert [*map(str, RepairConfig().steps)] == ["grow", "iterate", "union", "vote", "candidates", "pairs"]
