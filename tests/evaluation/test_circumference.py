"""The circumference of an ellipse is found again from its mask, in millimetres, whatever the pixels are like."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ellipe

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.data.datasets import open_dataset
from salip_exp.evaluation.metrics import FACT, head_circumference, perimeter

SHAPE = (180, 256)


def ellipse(centre=(128.0, 90.0), axes=(120.0, 90.0), angle=20.0, spacing=(1.0, 1.0)) -> np.ndarray:
    """Pixels whose centre lies in an ellipse; centre (x, y), full axes and angle (degrees) in millimetres."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x, y = columns * spacing[1] - centre[0], rows * spacing[0] - centre[1]
    turn = math.radians(angle)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return (2 * u / axes[0]) ** 2 + (2 * v / axes[1]) ** 2 <= 1


@given(st.floats(0.1, 500), st.floats(0.05, 1))
def test_ramanujans_perimeter_is_the_elliptic_integral(width, flat):
    height = flat * width
    exact = 2 * width * ellipe(1 - (height / width) ** 2)
    assert perimeter(width, height) == pytest.approx(exact, rel=3e-4)
    assert perimeter(width, height) == perimeter(height, width)
    if flat > 0.6:
        assert perimeter(width, height) == pytest.approx(exact, rel=1e-8)


@given(
    st.floats(60, 150), st.floats(0.6, 1), st.floats(0, 180), st.tuples(st.floats(110, 140), st.floats(80, 100))
)  # fmt: skip
def test_the_perimeter_is_found_again_but_for_half_a_pixel(long, ratio, angle, centre):
    mask = ellipse(centre, (long, ratio * long), angle)
    found = head_circumference(mask, (1.0, 1.0))
    through_pixel_centres = perimeter(long - 1, ratio * long - 1)
    assert found == pytest.approx(through_pixel_centres, rel=0.01)


def test_it_is_fitted_in_millimetres_also_where_pixels_are_no_squares():
    spacing = (0.5, 0.25)
    mask = ellipse((32.0, 45.0), (50.0, 35.0), 30.0, spacing)
    assert head_circumference(mask, spacing) == pytest.approx(perimeter(50, 35), rel=0.02)
    assert head_circumference(mask, (1.0, 0.5)) == pytest.approx(2 * head_circumference(mask, spacing), rel=1e-4)


def test_the_largest_component_counts_and_its_holes_do_not():
    mask = ellipse()
    spoilt = mask.copy()
    spoilt[80:95, 100:130] = False
    spoilt[2:8, 2:8] = True
    assert head_circumference(spoilt, (1, 1)) == head_circumference(mask, (1, 1))


def test_the_edge_of_the_picture_is_no_edge_of_the_head():
    mask = ellipse(centre=(40.0, 90.0))
    assert mask[:, 0].any()
    assert head_circumference(mask, (1, 1)) == pytest.approx(perimeter(119, 89), rel=0.01)


@pytest.mark.parametrize(
    "mask", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool), np.eye(1, 256, dtype=bool).repeat(180, 0)]
)
def test_what_is_no_ellipse_has_no_circumference(mask):
    assert head_circumference(mask, (1, 1)) is None


def test_without_pixel_size_there_is_no_circumference():
    assert head_circumference(ellipse(), None) is None


def test_any_mask_gives_nothing_or_a_length_no_longer_than_many_frames():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = cv2.resize(rng.random((9, 12)), (SHAPE[1], SHAPE[0])) > rng.uniform(0.2, 0.9)
        found = head_circumference(mask, (0.3, 0.2))
        assert found is None or 0 < found < math.pi * 10 * 0.3 * SHAPE[0]


def errors_of(*overrides: str) -> np.ndarray:
    config = typed(compose(["sam=tiny", "clip=tiny", *overrides]))
    cases = [ref.load() for ref in open_dataset(config.dataset, config.seed).refs]
    return np.array([(head_circumference(case.mask, case.spacing) or math.nan) - case.facts[FACT] for case in cases])


def test_phantom_heads_are_as_long_as_they_were_drawn():
    found = errors_of("dataset=phantom_hc18", "dataset.phantom.n=10")
    assert np.abs(found).max() < 2.0
    assert abs(found.mean()) < 1.0


@pytest.mark.slow
def test_real_annotations_agree_with_the_table_to_a_tenth_of_a_percent(real: Callable[[str], Path]):
    found = errors_of("dataset=hc18", f"dataset.root={real('HC18')}")
    assert abs(found.mean()) < 0.2
    assert found.std() < 0.12
