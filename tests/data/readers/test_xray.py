"""Chest x-rays: the mask names of Shenzhen and Montgomery, and images without masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from salip_exp._runs.records import fingerprint
from salip_exp.data.case import Dataset
from salip_exp.errors import DataError

Save = Callable[..., Path]
Open = Callable[..., Dataset]


@pytest.fixture
def chest(picture: Save) -> Save:
    """Write an image and, under a name of its own, its mask."""

    def save(root: Path, name: str, mask: str | None) -> Path:
        home = root / "Lung Segmentation"
        pixels = np.random.default_rng(0).integers(0, 256, (30, 30)).astype(np.uint8)
        if mask is not None:
            picture(home / "masks" / f"{mask}.png", np.where(pixels > 99, 255, 0).astype(np.uint8))
        return picture(home / "CXR_png" / f"{name}.png", pixels)

    return save


@pytest.mark.fault("D3")
def test_d3_both_ways_of_naming_masks_are_understood_and_what_has_none_is_named(
    tmp_path: Path, chest: Save, opened: Open
) -> None:
    chest(tmp_path, "CHNCXR_0002_0", "CHNCXR_0002_0_mask")
    chest(tmp_path, "MCUCXR_0001_1", "MCUCXR_0001_1")
    chest(tmp_path, "CHNCXR_0010_0", None)
    dataset = opened("xray", tmp_path, "resize.mode=native")
    assert [ref.case_id for ref in dataset.refs] == ["CHNCXR_0002_0", "MCUCXR_0001_1"]
    assert dataset.excluded == [("CHNCXR_0010_0", "no mask")] and dataset.found == 3
    case = dataset.refs[0].load()
    assert case.mask is not None and (case.mask == (case.image[:, :, 0] > 99)).all()
    assert case.group == "X-ray" and case.spacing is None


def test_the_inner_folder_is_a_root_too(tmp_path: Path, chest: Save, opened: Open) -> None:
    chest(tmp_path, "a", "a")
    assert len(opened("xray", tmp_path / "Lung Segmentation").refs) == 1


def test_grey_masks_are_resized_first_where_that_is_wanted(
    tmp_path: Path, chest: Save, picture: Save, opened: Open
) -> None:
    chest(tmp_path, "a", "a")
    disc = cv2.circle(np.zeros((300, 300), np.uint8), (140, 160), 90, 255, -1)
    levels = cv2.resize(disc, (71, 71), interpolation=cv2.INTER_AREA)
    for folder in ("CXR_png", "masks"):
        picture(tmp_path / "Lung Segmentation" / folder / "a.png", levels)
    keys = ("resize.mode=squash", "resize.side=40", "resize.interpolation=bilinear")
    first, last = (
        opened("xray", tmp_path, *keys, f"resize.masks={order}").refs[0].load()
        for order in ("resize_first", "threshold_first")
    )
    resized = cv2.resize(levels, (40, 40))
    assert first.mask is not None and last.mask is not None
    np.testing.assert_array_equal(first.mask, resized > 127)
    np.testing.assert_array_equal(first.touched, resized > 0)
    assert last.touched is None and (last.mask != first.mask).any()
    assert fingerprint(first) != fingerprint(replace(first, touched=first.mask))


def test_channels_are_swapped_only_where_that_is_wanted(
    tmp_path: Path, chest: Save, picture: Save, opened: Open
) -> None:
    chest(tmp_path, "a", "a")
    colours = np.random.default_rng(1).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    picture(tmp_path / "Lung Segmentation" / "CXR_png" / "a.png", colours)
    for channels, order in (("rgb", 1), ("bgr", -1)):
        case = opened("xray", tmp_path, "resize.mode=native", f"channels={channels}").refs[0].load()
        assert (case.image == colours[:, :, ::order]).all()


@pytest.mark.fault("D16")
def test_d16_two_masks_of_one_image_are_both_named(tmp_path: Path, chest: Save, opened: Open) -> None:
    chest(tmp_path, "a", "a")
    chest(tmp_path, "a", "a_mask")
    with pytest.raises(DataError, match=r"a\.png and .*a_mask\.png"):
        opened("xray", tmp_path)


@pytest.mark.fault("D17")
def test_d17_a_folder_of_another_kind_is_told_the_layout(tmp_path: Path, opened: Open) -> None:
    with pytest.raises(DataError, match=r"no CXR_png folder: X-ray wants 'Lung Segmentation/CXR_png"):
        opened("xray", tmp_path)


def test_real_chests_have_two_lungs(real: Callable[[str], Path], opened: Open) -> None:
    dataset = opened("xray", real("CXR"))
    assert len(dataset.refs) == 173 and not dataset.excluded
    for ref in dataset.refs[::8]:
        mask = ref.load().mask
        assert mask is not None and 0.08 < mask.mean() < 0.5
        sizes = np.bincount(ndimage.label(mask)[0].ravel())[1:]
        assert (sizes > 0.02 * mask.size).sum() == 2, ref.case_id


def test_real_lungs_are_one_on_each_side(real: Callable[[str], Path], opened: Open) -> None:
    root = real("CXR")
    both, right, left = (
        opened("xray", root, *settings) for settings in ((), ("side=right", "k=1"), ("side=left", "k=1"))
    )
    for whole, one, other in zip(both.refs[::16], right.refs[::16], left.refs[::16], strict=True):
        lungs, of_right, of_left = whole.load().mask, one.load().mask, other.load().mask
        assert lungs is not None and of_right is not None and of_left is not None
        assert ((of_right | of_left) == lungs).all() and not (of_right & of_left).any()
        assert np.nonzero(of_right)[1].mean() < lungs.shape[1] / 2 < np.nonzero(of_left)[1].mean()
