"""Connected parts, and one side of a pair."""

from __future__ import annotations

import numpy as np
import pytest

from salip_exp.config import Side
from salip_exp.data.regions import components, one_side, regions


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
