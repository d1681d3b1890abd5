"""Each view shows its own candidate, whatever its neighbours are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from salip_exp.cascade.options import VIEWS
from salip_exp.cascade.views import VEIL, settings_of, viewable, views
from salip_exp.config import ViewConfig

SIDE = 40
LINE = "line"


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(1, 255, (SIDE, SIDE, 3)).astype(np.uint8)


def square(x, y, size=6):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + size, x : x + size] = True
    return mask


def line():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[3:30, 20] = True
    return mask


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(["A", "B", "C", LINE, LINE]))))
@pytest.mark.fault("P3")
def test_masks_without_extent_never_shift_the_others(make_pool, image, order):
    """The published code paired crops with the next candidate's mask after the first such box."""
    shapes = {"A": square(2, 2), "B": square(20, 5), "C": square(10, 30), LINE: line()}
    pool = make_pool(np.stack([shapes[name] for name in order]))
    config = ViewConfig(inclusive=False)
    kept = viewable(pool, config)
    assert kept.ids.tolist() == [i for i, name in enumerate(order) if name != LINE]
    for picture, mask in zip(views(image, kept, config), kept.masks, strict=True):
        y, x = np.nonzero(mask)
        np.testing.assert_array_equal(picture, (image * mask[..., None])[y.min() : y.max(), x.min() : x.max()])


def test_inclusive_boxes_keep_one_pixel_masks_but_no_empty_ones(make_pool, image):
    pool = make_pool(np.stack([np.zeros((SIDE, SIDE), bool), line(), square(39, 39, 1)]))
    kept = viewable(pool, ViewConfig())
    assert kept.ids.tolist() == [1, 2]
    assert [picture.shape for picture in views(image, kept, ViewConfig())] == [(27, 1, 3), (1, 1, 3)]


def test_crop_is_black_outside_the_mask(make_pool, image):
    mask = square(5, 5, 10)
    mask[5, 5] = False
    (picture,) = views(image, make_pool(mask[None]), ViewConfig())
    assert picture.shape == (10, 10, 3)
    assert picture[0, 0].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(picture[1:], image[6:15, 5:15])


def test_expanded_crop_shows_the_surroundings_and_stops_at_the_frame(make_pool, image):
    config = ViewConfig(kind="crop_expand", margin=4)
    corner, middle = views(image, make_pool(np.stack([square(0, 0), square(10, 12)])), config)
    np.testing.assert_array_equal(corner, image[:10, :10])
    np.testing.assert_array_equal(middle, image[8:22, 6:20])
    (far,) = views(image, make_pool(square(34, 34)[None]), config)
    np.testing.assert_array_equal(far, image[30:, 30:])


@pytest.mark.parametrize(("kind", "width"), [("box", 7), ("contour", 5)])  # as OpenCV draws thickness 5 and 3
@pytest.mark.parametrize("color", [[255, 0, 0], [0, 200, 40]])
def test_marks_have_their_colour_and_leave_the_input_alone(make_pool, image, kind, width, color):
    before = image.copy()
    mask = square(12, 12, 14)
    config = ViewConfig(kind=kind, box_width=5, contour_width=3, color=color)
    (picture,) = views(image, make_pool(mask[None]), config)
    np.testing.assert_array_equal(image, before)
    red = (picture == color).all(axis=-1)
    assert red[19].sum() == 2 * width
    np.testing.assert_array_equal(picture[~red], image[~red])


def test_reverse_blur_veils_outside_the_box(make_pool, image):
    (picture,) = views(image, make_pool(square(8, 8)[None]), ViewConfig(kind="reverse_blur"))
    np.testing.assert_array_equal(picture[8:14, 8:14], image[8:14, 8:14])
    outside = picture[20:].astype(float)
    assert np.abs(outside - (0.5 * image[20:] + 0.5 * np.array(VEIL))).max() <= 0.5


def test_a_contour_goes_round_holes_too(make_pool, image):
    mask = square(8, 8, 20)
    mask[15:21, 15:21] = False
    color = [255, 0, 0]
    config = ViewConfig(kind="contour", contour_width=1, color=color)
    (picture,) = views(image, make_pool(mask[None]), config)
    red = (picture == color).all(axis=-1)
    edge = np.zeros_like(mask)
    edge[8:28, 8:28] = True
    edge[9:27, 9:27] = False
    edge[14, 15:21] = edge[21, 15:21] = edge[15:21, 14] = edge[15:21, 21] = True
    np.testing.assert_array_equal(red, edge)


@pytest.mark.parametrize("inclusive", [True, False])
def test_reverse_blur_shows_the_whole_box_whatever_crops_leave_out(make_pool, image, inclusive):
    """The far row and column were veiled where crops leave them out."""
    config = ViewConfig(kind="reverse_blur", inclusive=inclusive)
    (picture,) = views(image, make_pool(square(8, 8)[None]), config)
    shown = (picture == image).all(axis=-1)
    assert shown[8:14, 8:14].all()
    assert shown.sum() <= 36 + 8  # few pixels elsewhere have the colour of the veil


def test_half_a_level_of_the_veil_is_rounded_to_even(make_pool):
    image = np.full((SIDE, SIDE, 3), (125, 119, 105), np.uint8)
    (picture,) = views(image, make_pool(square(8, 8)[None]), ViewConfig(kind="reverse_blur"))
    assert picture[0, 0].tolist() == [124, 118, 104]  # halves of 124.5, 117.5 and 104.5


def test_what_is_drawn_otherwise_than_before_is_looked_up_otherwise():
    keys = {kind: settings_of(ViewConfig(kind=kind)) for kind in ("crop", "box", "contour", "reverse_blur")}
    assert keys["crop"] == ("crop", "pad", True)
    assert all("revision 2" in keys[kind] for kind in keys if kind != "crop")


def test_true_blur_keeps_the_mask_sharp(make_pool, image):
    mask = square(8, 8)
    mask[9, 9] = False
    config = ViewConfig(kind="reverse_blur", true_blur=True)
    (picture,) = views(image, make_pool(mask[None]), config)
    np.testing.assert_array_equal(picture[mask], image[mask])
    assert picture[20:].std() < image[20:].std() / 2


@pytest.mark.parametrize("kind", VIEWS.names)
def test_every_view_is_rgb_bytes(make_pool, image, kind):
    for picture in views(image, make_pool(np.stack([square(1, 1), square(30, 30)])), ViewConfig(kind=kind)):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.size
