"""The circumference of an ellipse is found again from its mask, in millimetres, whatever the pixels are like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ellipe

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Fill
from salip_exp.data._regions import filled, fit_ellipse
from salip_exp.data.datasets import open_dataset
from salip_exp.data.images import read_mask
from salip_exp.data.readers.hc18 import _read_measures
from salip_exp.evaluation.metrics import FACT, _perimeter, head_circumference

SHAPE = (180, 256)


def ellipse(centre=(128.0, 90.0), axes=(120.0, 90.0), angle=20.0, spacing=(1.0, 1.0), shape=SHAPE) -> np.ndarray:
    """Pixels whose centre lies in an ellipse; centre (x, y), full axes and angle (degrees) in millimetres."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    x, y = columns * spacing[1] - centre[0], rows * spacing[0] - centre[1]
    turn = math.radians(angle)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return (2 * u / axes[0]) ** 2 + (2 * v / axes[1]) ** 2 <= 1


@given(st.floats(0.1, 500), st.floats(0.05, 1))
def test_ramanujans_perimeter_is_the_elliptic_integral(width, flat):
    height = flat * width
    exact = 2 * width * ellipe(1 - (height / width) ** 2)
    assert _perimeter(width, height) == pytest.approx(exact, rel=3e-4)
    assert _perimeter(width, height) == _perimeter(height, width)
    if flat > 0.6:
        assert _perimeter(width, height) == pytest.approx(exact, rel=1e-8)


@given(
    st.floats(60, 150), st.floats(0.6, 1), st.floats(0, 180), st.tuples(st.floats(110, 140), st.floats(80, 100))
)  # fmt: skip
def test_the_perimeter_is_found_again(long, ratio, angle, centre):
    mask = ellipse(centre, (long, ratio * long), angle)
    assert head_circumference(mask, (1.0, 1.0)) == pytest.approx(_perimeter(long, ratio * long), abs=1.0)


def test_it_is_neither_too_long_nor_too_short_on_average():
    """Through the centres of the mask's pixels it was pi pixels too short."""
    rng = np.random.default_rng(1234)
    errors = []
    for _ in range(60):
        axes, centre = sorted(rng.uniform(60, 150, 2)), rng.uniform((118, 85), (138, 95))
        found = head_circumference(ellipse(tuple(centre), tuple(axes), rng.uniform(0, 180)), (1.0, 1.0))
        errors.append(found - _perimeter(*axes))
    assert abs(np.mean(errors)) < 0.06 and np.std(errors) < 0.25


def test_it_is_fitted_in_millimetres_also_where_pixels_are_no_squares():
    spacing = (0.5, 0.25)
    mask = ellipse((32.0, 45.0), (50.0, 35.0), 30.0, spacing)
    assert head_circumference(mask, spacing) == pytest.approx(_perimeter(50, 35), rel=0.002)
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
    assert head_circumference(mask, (1, 1)) == pytest.approx(_perimeter(120, 90), rel=0.003)


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


@pytest.mark.ci
def test_the_target_of_a_phantom_head_reaches_half_a_line_outside_it():
    """The head is measured along the middle of the drawn line, of some two pixels; the target holds all of the line."""
    found = errors_of("dataset=phantom_hc18", "dataset.phantom.n=10")
    assert found.min() > 0 and found.max() < 3.5
    assert found.mean() == pytest.approx(1.8, abs=0.3)


@pytest.mark.slow
def test_so_do_real_annotations_and_without_that_half_line_they_agree_with_the_table(real: Callable[[str], Path]):
    found = errors_of("dataset=hc18", f"dataset.root={real('HC18')}")
    assert np.nanmean(found) == pytest.approx(1.12, abs=0.05)
    middles = list(_errors_of_middles(real("HC18")))
    assert len(middles) > 200
    assert abs(np.mean(middles)) < 0.01 and np.std(middles) < 0.1


def _errors_of_middles(root: Path) -> Iterator[float]:
    """Millimetres that the region inside the middle of an annotated line measures more than the table says."""
    measures = _read_measures(root / "training_set", root)
    for path in sorted((root / "training_set").glob("*_Annotation.png")):
        measure = measures[path.name.replace("_Annotation", "")]
        line, _ = read_mask(path)
        if "outline filled" not in filled(line, Fill.auto)[1]:
            continue  # it leaves the frame
        fitted = fit_ellipse(np.argwhere(line)[:, ::-1].astype(np.float64), max(line.shape))
        assert fitted is not None and measure.circumference_mm is not None
        found = head_circumference(ellipse(*fitted, shape=line.shape), (measure.pixel_mm, measure.pixel_mm))
        yield (found or math.nan) - measure.circumference_mm
