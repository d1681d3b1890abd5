"""Working size of images, masks and spacing; the next case is read meanwhile, and a fault stays with its case."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.config import Interpolation, Resize, ResizeMode
from salip_exp.data.case import Case, CaseRef, failing
from salip_exp.data.loading import _resize_image, _resize_mask, _resized_spacing, _working_size, prefetched
from salip_exp.errors import CaseError

SIDES = st.integers(20, 400)


@pytest.mark.parametrize(
    ("mode", "size"), [(ResizeMode.fit, (150, 256)), (ResizeMode.squash, (256, 256)), (ResizeMode.native, (100, 171))]
)
@pytest.mark.fault("D12")
def test_d12_a_slice_that_is_not_square_gets_the_size_of_its_mode(mode: ResizeMode, size: tuple[int, int]) -> None:
    config = Resize(mode=mode)
    image, mask = np.zeros((100, 171, 3), np.uint8), np.zeros((100, 171), bool)
    assert _working_size(100, 171, config) == size
    assert _resize_image(image, config).shape == (*size, 3)
    assert _resize_mask(mask, config).shape == size


def test_a_thread_of_an_image_keeps_a_pixel() -> None:
    assert _working_size(1, 4000, Resize(side=16)) == (1, 16)


@given(height=SIDES, width=SIDES, mode=st.sampled_from([ResizeMode.fit, ResizeMode.squash]), side=SIDES)
def test_resizing_a_mask_keeps_its_share_of_the_image(height: int, width: int, mode: ResizeMode, side: int) -> None:
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 3, height // 3), 0, 0, 360, 1, -1)
    resized = _resize_mask(mask > 0, Resize(mode=mode, side=side))
    perimeter = 2 / min(*resized.shape, height, width)
    assert abs(resized.mean() - mask.mean()) < max(0.01, 0.6 * perimeter)


@given(height=SIDES, width=SIDES, side=SIDES, way=st.sampled_from(list(Interpolation)))
def test_image_and_mask_stay_on_one_grid(height: int, width: int, side: int, way: Interpolation) -> None:
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, width // 4 :] = 1
    config = Resize(side=side, interpolation=way)
    image = _resize_image(np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2), config)
    clear = np.abs(image[:, :, 0] - 127.5) > 2
    assert ((image[:, :, 0] > 127) == _resize_mask(mask > 0, config))[clear].all()


def test_shrinking_one_side_while_the_other_grows_averages_what_shrinks() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (20, 200))[:, :, None].repeat(3, axis=2)
    squashed = _resize_image(stripes, Resize(mode=ResizeMode.squash, side=50))
    assert np.abs(squashed.astype(int) - 128).max() <= 1


def test_bilinear_is_one_step_whichever_sides_grow() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 400, 3)).astype(np.uint8)
    config = Resize(mode=ResizeMode.squash, side=50, interpolation=Interpolation.bilinear)
    np.testing.assert_array_equal(_resize_image(picture, config), cv2.resize(picture, (50, 50)))


def test_levels_are_resized_before_they_are_cut_at_half_of_white() -> None:
    """Two pixels become their mean: 128 and 127 of 255; cut first, either pair is one of two."""
    levels = np.array([[255, 1, 0, 254]] * 2, np.uint8)
    config = Resize(mode=ResizeMode.squash, side=2, interpolation=Interpolation.bilinear)
    assert _resize_mask(levels, config).tolist() == [[True, False]] * 2
    assert _resize_mask(levels > 127, config).tolist() == [[True, True]] * 2


def test_spacing_follows_each_side_of_its_own() -> None:
    assert _resized_spacing((0.5, 2.0), (100, 300), (200, 100)) == (0.25, 6.0)
    assert _resized_spacing(None, (1, 1), (2, 2)) is None


def case_of(name: str) -> Case:
    return Case(name, "fake", "all", np.zeros((4, 4, 3), np.uint8), None, None, name)


def ref_of(name: str, load) -> CaseRef:
    return CaseRef(name, "all", name, load)


def test_the_next_case_is_read_meanwhile_and_no_further():
    begun = [threading.Event() for _ in range(4)]

    def load(number: int):
        def loaded() -> Case:
            begun[number].set()
            return case_of(str(number))

        return loaded

    reading = prefetched([ref_of(str(n), load(n)) for n in range(4)])
    for number, (ref, wait) in enumerate(reading):
        assert wait().case.case_id == ref.case_id == str(number)
        if number < 3:
            assert begun[number + 1].wait(600)
        assert not any(each.is_set() for each in begun[number + 2 :])


def test_a_case_that_cannot_be_read_fails_alone():
    refs = [
        ref_of("a", lambda: case_of("a")),
        ref_of("b", failing(CaseError("E_READ", "b is torn"))),
        ref_of("c", lambda: case_of("c")),
    ]
    seen = []
    for ref, wait in prefetched(refs):
        try:
            seen.append(wait().case.case_id)
        except CaseError as error:
            seen.append(f"{ref.case_id}: {error.code}")
    assert seen == ["a", "b: E_READ", "c"]


def test_stopping_early_ends_the_reader():
    for _, wait in prefetched([ref_of(str(n), lambda: case_of("x")) for n in range(50)]):
        assert wait().seconds >= 0
        break
    assert not any(thread.name.startswith("reader") for thread in threading.enumerate())


def test_nothing_to_read_is_nothing():
    assert list(prefetched([])) == []


@pytest.mark.parametrize("count", [1, 2])
def test_every_reference_comes_once(count):
    refs = [ref_of(str(n), lambda: case_of("x")) for n in range(count)]
    assert [ref.case_id for ref, _ in prefetched(refs)] == [str(n) for n in range(count)]
