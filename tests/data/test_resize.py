"""Working size of images, masks and spacing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.config import Interpolation, Resize, ResizeMode
from salip_exp.data.loading import resize_image, resize_mask, resized_spacing, working_size

SIDES = st.integers(20, 400)


@pytest.mark.parametrize(
    ("mode", "size"), [(ResizeMode.fit, (150, 256)), (ResizeMode.squash, (256, 256)), (ResizeMode.native, (100, 171))]
)
@pytest.mark.fault("D12")
def test_d12_a_slice_that_is_not_square_gets_the_size_of_its_mode(mode: ResizeMode, size: tuple[int, int]) -> None:
    config = Resize(mode=mode)
    image, mask = np.zeros((100, 171, 3), np.uint8), np.zeros((100, 171), bool)
    assert working_size(100, 171, config) == size
    assert resize_image(image, config).shape == (*size, 3)
    assert resize_mask(mask, config).shape == size


def test_a_thread_of_an_image_keeps_a_pixel() -> None:
    assert working_size(1, 4000, Resize(side=16)) == (1, 16)


@given(height=SIDES, width=SIDES, mode=st.sampled_from([ResizeMode.fit, ResizeMode.squash]), side=SIDES)
def test_resizing_a_mask_keeps_its_share_of_the_image(height: int, width: int, mode: ResizeMode, side: int) -> None:
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 3, height // 3), 0, 0, 360, 1, -1)
    resized = resize_mask(mask > 0, Resize(mode=mode, side=side))
    perimeter = 2 / min(*resized.shape, height, width)
    assert abs(resized.mean() - mask.mean()) < max(0.01, 0.6 * perimeter)


@given(height=SIDES, width=SIDES, side=SIDES, way=st.sampled_from(list(Interpolation)))
def test_image_and_mask_stay_on_one_grid(height: int, width: int, side: int, way: Interpolation) -> None:
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, width // 4 :] = 1
    config = Resize(side=side, interpolation=way)
    image = resize_image(np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2), config)
    clear = np.abs(image[:, :, 0] - 127.5) > 2
    assert ((image[:, :, 0] > 127) == resize_mask(mask > 0, config))[clear].all()


def test_shrinking_one_side_while_the_other_grows_averages_what_shrinks() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (20, 200))[:, :, None].repeat(3, axis=2)
    squashed = resize_image(stripes, Resize(mode=ResizeMode.squash, side=50))
    assert np.abs(squashed.astype(int) - 128).max() <= 1


def test_spacing_follows_each_side_of_its_own() -> None:
    assert resized_spacing((0.5, 2.0), (100, 300), (200, 100)) == (0.25, 6.0)
    assert resized_spacing(None, (1, 1), (2, 2)) is None
