"""Connected parts, one side of a pair, and outlines of ellipses to filled ellipses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from salip_exp.config import Fill, Resize, Side
from salip_exp.data._regions import components, filled, fit_ellipse, loses_regions, one_side, regions
from salip_exp.data.loading import _resize_mask


def block(x0: int, x1: int, y0: int = 2, y1: int = 6) -> np.ndarray:
    mask = np.zeros((8, 40), bool)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT_OF_PICTURE, RIGHT_OF_PICTURE = block(3, 13), block(24, 36)
BOTH = LEFT_OF_PICTURE | RIGHT_OF_PICTURE
NOTHING = block(0, 0)


def test_components_are_ordered_by_size_and_no_more_than_asked_for():
    assert components(BOTH, 9).tolist() == [RIGHT_OF_PICTURE.tolist(), LEFT_OF_PICTURE.tolist()]
    assert components(BOTH, 1).tolist() == [RIGHT_OF_PICTURE.tolist()]
    assert components(NOTHING, 9).shape == (0, 8, 40)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_regions_of_one_organ_are_the_whole_and_of_more_its_components(k):
    found = regions(BOTH, k)
    assert len(found) == min(k, 2)
    np.testing.assert_array_equal(np.any(found, axis=0), BOTH)


@pytest.mark.parametrize(
    ("target", "right", "left"),
    [
        (BOTH, LEFT_OF_PICTURE, RIGHT_OF_PICTURE),  # the patient's right lies on the left of the picture
        (BOTH | block(1, 2, 0, 1), LEFT_OF_PICTURE | block(1, 2, 0, 1), RIGHT_OF_PICTURE),
        (block(3, 22) | block(25, 36), block(3, 22), block(25, 36)),  # one that reaches over the middle stays whole
        (block(5, 35), block(5, 20), block(20, 35)),  # touching: divided in the middle of the picture
        (LEFT_OF_PICTURE, LEFT_OF_PICTURE, NOTHING),
        (NOTHING, NOTHING, NOTHING),
    ],
)
def test_a_side_is_what_lies_in_its_half(target, right, left):
    np.testing.assert_array_equal(one_side(target, Side.right), right)
    np.testing.assert_array_equal(one_side(target, Side.left), left)
    np.testing.assert_array_equal(one_side(target, Side.both), target)


def test_no_pixel_is_lost_or_on_both_sides():
    rng = np.random.default_rng(0)
    for _ in range(50):
        target = rng.random((20, 31)) > rng.uniform(0.3, 0.9)
        right, left = one_side(target, Side.right), one_side(target, Side.left)
        assert not (right & left).any()
        np.testing.assert_array_equal(right | left, target)


HEIGHT, WIDTH = 135, 200


def drawn(centre: tuple[float, float], axes: tuple[float, float], angle: float, width: int) -> NDArray[np.bool_]:
    """An ellipse with half axes, filled for width -1, clipped by the frame."""
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(canvas, (centre, (2 * axes[0], 2 * axes[1]), angle), 1, width)
    return canvas > 0


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@given(
    x=st.floats(20, 180), y=st.floats(15, 120), long=st.floats(45, 75), ratio=st.floats(0.65, 0.95),
    angle=st.floats(0, 180),
)  # fmt: skip
@pytest.mark.fault("D7")
def test_d7_the_outline_of_any_ellipse_is_refilled_also_where_the_frame_clips_it(
    x: float, y: float, long: float, ratio: float, angle: float
) -> None:
    ellipse = ((x, y), (long, ratio * long), angle)
    outline, whole = drawn(*ellipse, 1), drawn(*ellipse, -1)
    assume(outline.sum() > 0.4 * np.pi * (1 + ratio) * long)  # about half of it is in the frame
    region, notes = filled(outline, Fill.auto)
    assert iou(region, whole) > 0.97 and len(notes) == 1


@pytest.mark.fault("D7")
def test_d7_how_the_region_was_made_is_noted() -> None:
    inside = drawn((100, 67), (50, 35), 30, 1)
    clipped = drawn((30, 67), (50, 35), 0, 1)
    assert filled(inside, Fill.auto)[1] == ("outline filled",)
    assert "ellipse fitted" in filled(clipped, Fill.auto)[1][0]


@pytest.mark.parametrize("fill", [Fill.auto, Fill.never])
@pytest.mark.fault("D7")
def test_d7_a_filled_annotation_stays_as_it_is(fill: Fill) -> None:
    whole = drawn((100, 67), (50, 35), 30, -1)
    region, notes = filled(whole, fill)
    assert (region == whole).all() and notes == ()


@pytest.mark.fault("D7")
def test_d7_an_outline_that_may_not_be_filled_is_flagged() -> None:
    outline = drawn((100, 67), (50, 35), 30, 1)
    region, notes = filled(outline, Fill.never)
    assert (region == outline).all() and "outline" in notes[0]


@pytest.mark.fault("D7")
def test_d7_a_thick_outline_is_filled_when_that_is_always_wanted() -> None:
    thick, whole = drawn((100, 67), (40, 30), 10, 9), drawn((100, 67), (44, 34), 10, -1)
    assert (filled(thick, Fill.auto)[0] == thick).all()
    assert iou(filled(thick, Fill.always)[0], whole) > 0.93


@pytest.mark.fault("D7")
def test_d7_filling_what_is_filled_changes_nothing() -> None:
    whole = drawn((100, 67), (50, 35), 30, -1)
    assert (filled(whole, Fill.always)[0] == whole).all()


@pytest.mark.parametrize("fill", list(Fill))
def test_what_is_no_outline_is_left_alone(fill: Fill) -> None:
    empty = np.zeros((HEIGHT, WIDTH), bool)
    line = empty.copy()
    line[5, 3:90] = True
    for annotation in (empty, line):
        region, notes = filled(annotation, fill)
        assert (region == annotation).all() and notes == ()


def test_the_fitted_ellipse_has_the_axes_it_was_drawn_with() -> None:
    annotation = drawn((90.0, 60.0), (50, 30), 25, 1)
    fitted = fit_ellipse(np.argwhere(annotation)[:, ::-1].astype(np.float64), max(annotation.shape))
    assert fitted is not None
    assert fitted[0] == pytest.approx((90, 60), abs=0.5) and sorted(fitted[1]) == pytest.approx([60, 100], abs=1)


@pytest.mark.fault("T8")
@pytest.mark.parametrize(
    ("spots", "lost"),
    [((), False), (((60, 60, 1),), True), (((60, 60, 8),), False), (((39, 20, 1),), False)],
    ids=["one region", "a speck far off", "two that stay", "a speck that is swallowed"],
)
def test_a_region_is_lost_where_nothing_of_it_is_left(spots: tuple[tuple[int, int, int], ...], lost: bool) -> None:
    target = np.zeros((80, 64), bool)
    target[10:38, 10:40] = True
    for row, column, size in spots:
        target[row : row + size, column : column + size] = True
    resized = _resize_mask(target, Resize(side=20))
    assert loses_regions(target, resized) is lost
    assert not loses_regions(target, target)
