"""Chests with air beside the trunk."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salip_exp.data._phantoms import chest
from tools.embedded.film import open_sides, veiled, with_lines

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


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_veil_lifts_the_lung_alone_and_towards_what_is_around_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lung = np.zeros((128, 128), bool)
    lung[30:100, 20:60] = True
    film = np.where(lung, 0.2, 0.7).astype(np.float32)
    after = veiled(rng, film, lung)
    assert (after >= film).all()
    assert after.max() <= 0.7 + 1e-5
    far = np.zeros_like(lung)
    far[:, 90:] = True
    np.testing.assert_array_equal(after[far], film[far])


def test_lines_brighten_a_part_of_the_film() -> None:
    film = np.full((128, 128), 0.4, np.float32)
    for seed in range(8):
        after = with_lines(np.random.default_rng(seed), film)
        assert (after >= film).all() and after.max() <= 1
        assert (after > film).mean() < 0.3
    assert (film == 0.4).all()
