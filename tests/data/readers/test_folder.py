"""The user's own images, pictures and volumes, with and without masks."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salip_exp.data.case import Dataset
from salip_exp.errors import CaseError, ConfigError, DataError

Save = Callable[..., Path]
Open = Callable[..., Dataset]
BLOCK = np.pad(np.full((4, 6), 255, np.uint8), 4)


def ids(dataset: Dataset) -> list[str]:
    return [ref.case_id for ref in dataset.refs]


def test_masks_are_found_by_name_with_and_without_their_suffix(tmp_path: Path, picture: Save, opened: Open) -> None:
    for name in ("a.png", "b.jpg", "deep/c.tif"):
        picture(tmp_path / "images" / name, BLOCK)
    for name in ("a_mask.png", "b.png", "deep/c_mask.bmp"):
        picture(tmp_path / "masks" / name, BLOCK)
    dataset = opened("folder", tmp_path, "resize.mode=native")
    assert ids(dataset) == ["a", "b", "deep/c"]
    for ref in dataset.refs:
        case = ref.load()
        assert case.mask is not None and (case.mask == (BLOCK > 0)).all()


def test_images_without_masks_are_predicted(tmp_path: Path, picture: Save, opened: Open) -> None:
    picture(tmp_path / "images" / "a.png")
    case = opened("folder", tmp_path).refs[0].load()
    assert case.mask is None and case.case_id == case.subject == "a"


@pytest.mark.parametrize(
    ("places", "pattern", "there"),
    [(("US 1", "US 2"), "*", ["US 1", "US 2"]), (("a b/x", "a b/c/y"), "a b/**/*", ["c/y", "x"])],
)
def test_images_alone_in_another_place_are_told_with_the_settings_that_read_them(
    tmp_path: Path, picture: Save, opened: Open, places: tuple[str, ...], pattern: str, there: list[str]
) -> None:
    for place in places:
        picture(tmp_path / f"{place}.png")
    with pytest.raises(DataError, match=r"holds no images at .*, but elsewhere: .* takes 2 of them\.") as told:
        opened("folder", tmp_path)
    assert f"dataset.files.images='{pattern}' dataset.files.masks=null" in str(told.value)
    found = opened("folder", tmp_path, f"files.images='{pattern}'", "files.masks=null")
    assert ids(found) == there


def test_a_file_in_place_of_a_folder_is_told_with_the_settings_that_read_it(
    tmp_path: Path, picture: Save, opened: Open
) -> None:
    path = picture(tmp_path / "a b" / "US 1.png")
    with pytest.raises(DataError, match=r"is a file: dataset\.root='.*a b' dataset\.files\.images='US 1\.png'"):
        opened("folder", path)
    assert ids(opened("folder", path.parent, "files.images='US 1.png'", "files.masks=null")) == ["US 1"]


def test_masks_of_which_none_has_the_name_of_an_image_are_an_error(tmp_path: Path, picture: Save, opened: Open) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "a_seg.png", np.zeros((12, 16), np.uint8))
    with pytest.raises(DataError, match=r"'a_seg'.*'a'.*mask_suffix"):
        opened("folder", tmp_path)
    assert opened("folder", tmp_path, "files.mask_suffix=_seg").refs[0].load().mask is not None


@pytest.mark.parametrize("globs", [("*.png", "*.png"), ("**/*", "*_mask.png"), ("*[0-9].png", "*_mask.png")])
def test_images_and_masks_may_share_a_folder(
    tmp_path: Path, picture: Save, opened: Open, globs: tuple[str, str]
) -> None:
    for number in (1, 2, 10):
        picture(tmp_path / f"{number}.png", BLOCK)
        picture(tmp_path / f"{number}_mask.png", BLOCK)
    dataset = opened("folder", tmp_path, f"files.images='{globs[0]}'", f"files.masks='{globs[1]}'")
    assert ids(dataset) == ["1", "2", "10"] and all(ref.load().mask is not None for ref in dataset.refs)


def test_equal_names_in_two_folders_stay_apart(tmp_path: Path, picture: Save, opened: Open) -> None:
    for folder in ("x", "y"):
        picture(tmp_path / "images" / folder / "a.png")
    assert ids(opened("folder", tmp_path)) == ["x/a", "y/a"]


@pytest.mark.parametrize("names", [("a.png", "a.jpg"), ("A.png", "a.png")])
@pytest.mark.fault("D16")
def test_d16_doubles_are_refused_with_both_files(
    tmp_path: Path, picture: Save, opened: Open, names: tuple[str, str]
) -> None:
    for name in names:
        picture(tmp_path / "images" / name)
    with pytest.raises(DataError) as caught:
        opened("folder", tmp_path)
    assert all(f"images/{name}" in str(caught.value) for name in names)


@pytest.mark.parametrize(
    "name", ["..a", "a b", "ünï-²", "<script>alert(1)</script>".replace("/", "_"), "a\nb", "-rf", "a'\"`$x"]
)
@pytest.mark.fault("D18")
def test_d18_hostile_names_are_read_as_they_are(tmp_path: Path, picture: Save, opened: Open, name: str) -> None:
    picture(tmp_path / "images" / f"x{name}.png", BLOCK)
    dataset = opened("folder", tmp_path)
    assert ids(dataset) == [f"x{name}"] and dataset.refs[0].load().image.shape == (219, 256, 3)


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "images/../../*", ""])
@pytest.mark.fault("D15")
def test_d15_a_glob_that_leads_out_is_refused(tmp_path: Path, picture: Save, opened: Open, pattern: str) -> None:
    picture(tmp_path / "images" / "a.png")
    for key in ("images", "masks"):
        with pytest.raises(ConfigError, match=rf"dataset\.files\.{key}="):
            opened("folder", tmp_path, f"files.{key}='{pattern}'")


@pytest.mark.fault("D15")
def test_d15_links_out_of_the_root_are_left_out_unless_allowed(tmp_path: Path, picture: Save, opened: Open) -> None:
    outside, root = picture(tmp_path / "far.png"), tmp_path / "root"
    picture(root / "images" / "a.png")
    (root / "images" / "b.png").symlink_to(outside)
    dataset = opened("folder", root)
    assert ids(dataset) == ["a"] and dataset.excluded[0][1].startswith("E_PATH")
    assert ids(opened("folder", root, "files.follow_links=true")) == ["a", "b"]


def test_one_label_of_several_is_segmented(tmp_path: Path, picture: Save, opened: Open) -> None:
    labels = np.kron(np.array([[0, 1], [2, 3]], np.uint8), np.ones((8, 8), np.uint8))
    picture(tmp_path / "images" / "a.png", labels)
    picture(tmp_path / "masks" / "a.png", labels)
    with pytest.raises(CaseError, match=r"labels 1, 2, 3"):
        opened("folder", tmp_path).refs[0].load()
    mask = opened("folder", tmp_path, "resize.mode=native", "files.label=2").refs[0].load().mask
    assert mask is not None and (mask == (labels == 2)).all()


def test_volumes_and_pictures_may_be_mixed_but_not_within_a_case(
    tmp_path: Path, picture: Save, volume: Save, opened: Open
) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "b.png")
    volume(tmp_path / "images" / "b.nii.gz", np.ones((3, 4, 5), np.uint8))
    volume(tmp_path / "images" / "c.nii.gz", np.ones((3, 4, 5), np.uint8))
    dataset = opened("folder", tmp_path, "volume.trim_mm=0")
    assert ids(dataset) == ["a", "b", "c/sagittal_000", "c/sagittal_001", "c/sagittal_002"]
    with pytest.raises(CaseError, match="must both be pictures or both be volumes"):
        dataset.refs[1].load()
    assert dataset.refs[2].load().volume == "c"


@pytest.mark.fault("D17")
def test_d17_an_empty_folder_is_told_the_layout(tmp_path: Path, opened: Open) -> None:
    with pytest.raises(DataError, match="holds no images: dataset=folder wants images/"):
        opened("folder", tmp_path)


def test_a_real_slice_is_read_with_its_mask(real: Callable[[str], Path], opened: Open) -> None:
    keys = ("files.images='*_T1.nii.gz'", "files.masks='*_ss.nii.gz'", "files.mask_suffix=_ss", "resize.mode=native")
    (ref,) = opened("folder", real("brain2d"), *keys).refs
    case = ref.load()
    assert case.mask is not None and case.image.shape[:2] == case.mask.shape == (250, 188)
    assert 0.15 < case.mask.mean() < 0.6 and case.spacing == (1.0, 1.0)
    assert case.image[case.mask].mean() > 2 * case.image[~case.mask].mean()


@pytest.mark.fault("N6")
def test_n6_the_mask_of_a_mac_belongs_to_the_image_of_another_machine(
    tmp_path: Path, picture: Save, opened: Open
) -> None:
    one, other = (unicodedata.normalize(form, "Übung/Bäuche") for form in ("NFC", "NFD"))
    picture(tmp_path / "images" / f"{one}.png", BLOCK)
    picture(tmp_path / "masks" / f"{other}_mäsk.png", BLOCK)
    suffix = unicodedata.normalize("NFC", "_mäsk")
    dataset = opened("folder", tmp_path, f"files.mask_suffix={suffix}")
    assert ids(dataset) == [one] and dataset.refs[0].load().mask is not None


def test_a_root_that_is_a_file_is_told_how_it_is_taken(tmp_path: Path, volume: Save, opened: Open) -> None:
    path = volume(tmp_path / "my scan.nii.gz", np.ones((3, 4, 5), np.uint8))
    with pytest.raises(DataError, match=r"is a file: dataset\.root=.* dataset\.files\.images='my scan"):
        opened("folder", path)
    assert len(opened("folder", tmp_path, "files.images='my scan.nii.gz'").refs) == 3
