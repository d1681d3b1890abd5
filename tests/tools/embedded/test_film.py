"""Chests with air beside the trunk."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salip_exp.data._phantoms import chest
from tools.embedded.film import open_sides

LUNGS = [chest.LABELS["right_lung"], chest.LABELS["left_lung"]]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_lungs_stay_and_new_air_is_dark(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = chest.anatomy(rng, (128, 128))
    opened = open_sides(rng, scene)
    for lung in LUNGS:
        np.testing.assert_array_equal(opened.labels == lung, scene.labels == lung)
    air = (opened.labels == 0) & (scene.labels != 0)
    assert (opened.layers["flesh"][air] == 0).all()
    assert (opened.layers["flesh"] <= scene.layers["flesh"]).all()
    assert ((opened.labels == scene.labels) | air).all()


def test_sides_are_opened_and_the_scene_given_is_left_as_it_was() -> None:
    scene = chest.anatomy(np.random.default_rng(3), (128, 128))
    labels, flesh = scene.labels.copy(), scene.layers["flesh"].copy()
    opened = [open_sides(np.random.default_rng(seed), scene) for seed in range(8)]
    assert any(((each.labels == 0) & (labels != 0)).mean() > 0.01 for each in opened)
    np.testing.assert_array_equal(scene.labels, labels)
    np.testing.assert_array_equal(scene.layers["flesh"], flesh)
