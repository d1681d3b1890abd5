"""What is drawn lies in the space, depends on seed and number alone, and reaches everything."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._settings.tuning import AREA
from salip_exp._tuning.space import Dimension, Planned, Space, samplers, space_of
from salip_exp.config import AreaSpace, RealSpace, Sampler, SpaceConfig, WholeSpace

numbers = st.integers(0, 10**6)
real = st.floats(0, 1, allow_nan=False)
lists = st.builds(
    lambda values: Dimension("sam.box_nms_thresh", False, tuple(values)), st.lists(real, min_size=1, unique=True)
)
ranges = st.builds(
    lambda ends: Dimension("sam.pred_iou_thresh", False, low=min(ends), high=max(ends)),
    st.tuples(real, real).filter(lambda ends: ends[0] != ends[1]),
)
wholes = st.builds(
    lambda low, more: Dimension("sam.points_per_side", True, low=low, high=low + more),
    st.integers(1, 200),
    st.integers(1, 50),
)
spaces = st.builds(lambda *dimensions: Space(dimensions), lists, ranges, wholes)


def inside(each: Dimension, value: float) -> bool:
    return value in each.choices if each.choices else each.low <= value <= each.high


@given(spaces, numbers, numbers)
@pytest.mark.fault("R5")
def test_a_trial_lies_in_the_space_and_depends_on_seed_and_number_alone(space: Space, seed: int, number: int) -> None:
    values = space.draw(seed, number)
    assert values == space.draw(seed, number)
    assert all(inside(each, values[each.name]) for each in space.dimensions)
    assert isinstance(values["sam.points_per_side"], int)


@given(spaces, numbers)
def test_optuna_gives_back_what_was_planned_to_the_bit(space: Space, seed: int) -> None:
    study = optuna.create_study(sampler=Planned(space, seed, grid=False))
    trial = study.ask()
    values = {each.name: each.suggest(trial) for each in space.dimensions}
    study.tell(trial, 0.5)
    assert study.trials[0].params == values == space.draw(seed, 0)


def test_random_trials_fill_the_space_evenly() -> None:
    dimension = Dimension("sam.pred_iou_thresh", False, low=0.2, high=0.8)
    whole = Dimension("sam.points_per_side", True, low=1, high=4)
    drawn = [Space((dimension, whole)).draw(1234, number) for number in range(2000)]
    counts, _ = np.histogram([each["sam.pred_iou_thresh"] for each in drawn], bins=6, range=(0.2, 0.8))
    assert counts.min() > 250
    assert np.bincount([each["sam.points_per_side"] for each in drawn])[1:].min() > 400


def test_a_grid_holds_every_combination_once_in_an_order_of_the_seed() -> None:
    space = Space((Dimension("sam.points_per_side", True, (2, 4, 8)), Dimension(AREA, False, (0.1, 0.9))))
    plans = [Planned(space, seed, grid=True) for seed in (1, 1, 2)]
    orders = [[tuple(plan.values(number).items()) for number in range(6)] for plan in plans]
    assert space.size == len(set(orders[0])) == 6
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == set(orders[2])


def test_a_range_has_no_end_of_combinations() -> None:
    assert Space((Dimension(AREA, False, low=0.1, high=0.9),)).size is None


def test_tpe_proposes_the_same_after_the_same_trials() -> None:
    space = Space((Dimension("sam.pred_iou_thresh", False, low=0.2, high=0.8), Dimension(AREA, False, (0.1, 0.5))))
    proposed: list[list[float]] = []
    for _ in range(2):
        study, sampler = optuna.create_study(direction="maximize"), samplers(Sampler.tpe, space, 5)
        proposed.append([])
        for number in range(15):
            study.sampler = sampler(number)
            trial = study.ask()
            proposed[-1].append(space.dimensions[0].suggest(trial))
            space.dimensions[1].suggest(trial)
            study.tell(trial, proposed[-1][-1])
    assert proposed[0] == proposed[1]
    assert np.mean(proposed[0][10:]) > 0.5


def test_the_configured_space_keeps_the_order_and_leaves_out_what_is_not_searched() -> None:
    config = SpaceConfig(
        points_per_side=WholeSpace(choices=[8, 16, 8]),
        pred_iou_thresh=RealSpace(),
        stability_score_thresh=RealSpace(low=0.1, high=0.2),
        box_nms_thresh=RealSpace(),
        area=AreaSpace(pools=True),
    )
    space = space_of(config, (0.01, 0.7))
    assert [each.name for each in space.dimensions] == ["sam.points_per_side", "sam.stability_score_thresh", AREA]
    assert space.to_dict() == {
        "sam.points_per_side": [8, 16],
        "sam.stability_score_thresh": {"low": 0.1, "high": 0.2},
        AREA: {"low": 0.01, "high": 0.7},
    }
