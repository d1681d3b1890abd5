"""Domain randomisation: pictures change, labels only move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.embedded import randomise

FUNCTIONS = [function for _, function in randomise.AUGMENTATIONS]


def picture(seed: int = 0) -> randomise.Image:
    return np.random.default_rng(seed).random((60, 80), dtype=np.float32)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_an_augmentation_keeps_shape_and_range_and_its_input(
    function: Callable[[np.random.Generator, randomise.Image], randomise.Image],
) -> None:
    image = picture()
    before = image.copy()
    for seed in range(20):
        result = function(np.random.default_rng(seed), image)
        assert result.shape == image.shape
        assert np.isfinite(result).all()
        assert result.min() >= 0
        assert result.max() <= 1.0001
    np.testing.assert_array_equal(image, before)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_the_same_seed_gives_the_same_picture(seed: int) -> None:
    first, second = (randomise.augment(np.random.default_rng(seed), picture()) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_labels_move_with_their_picture() -> None:
    labels = np.zeros((100, 120), np.uint8)
    labels[30:70, 40:90] = 1
    image, moved = randomise.warp(np.random.default_rng(3), labels.astype(np.float32), labels, (128, 96))
    assert moved.shape == (128, 96)
    assert 0 < moved.mean() < 1
    assert np.abs(image - moved).mean() < 0.02


def test_noise_labels_differ_between_seeds_and_have_several_regions() -> None:
    first, second = (randomise.noise_labels(np.random.default_rng(seed), (64, 64)) for seed in (1, 2))
    assert len(np.unique(first)) >= 3
    assert (first != second).any()


def test_every_label_is_painted_with_an_intensity_of_its_own() -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint8), 400).reshape(40, 40)
    means = [randomise.paint(np.random.default_rng(7), labels)[labels == number].mean() for number in range(4)]
    assert np.ptp(means) > 0.1
