"""The settings that are proposed where the default ones pair nothing: typed as they stand, they pair, and rightly."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.data.case import Dataset
from salip_exp.data.readers._layouts import TREES
from salip_exp.data.readers._patterns import Pattern, pair
from salip_exp.data.readers._proposals import likely_masks, propose, unpaired
from salip_exp.errors import DataError

Open = Callable[..., Dataset]
Save = Callable[..., Path]
ROOT = Path("root")
IDS = ("7", "12", "103")
ODD = {
    "suffixes on both sides": ("scans/pt{}_img.png", "labels/pt{}_seg.png"),
    "a folder for each patient": ("p{}/image.png", "p{}/mask.png"),
    "one folder for all": ("{}.jpg", "{}_mask.png"),
    "numbers in front": ("data/{}-scan.tif", "data/{}-truth.tif"),
    "another ending": ("in/case {}.jpg", "annotations/case {}.bmp"),
    "deep": ("study/raw/S{}/T1/t1.nii.gz", "study/manual/S{}/roi.nii.gz"),
    "a prefix for masks": ("im/{}.png", "gt/gt_{}.png"),
    "upper case": ("Images/{}.PNG", "Labels/{}.PNG"),
    "zero-filled": ("set/frame{:0>5}.png", "set/frame{:0>5}_gt.png"),
    "a date in each name": ("x/20240101_{}_ct.nii", "x/20240101_{}_ct_seg.nii"),
}  # fmt: skip


def files(image: str, mask: str, ids: tuple[str, ...] = IDS) -> dict[Path, Path]:
    """Images with their masks."""
    return {ROOT / image.format(each): ROOT / mask.format(each) for each in ids}


def paired(typed: str, images: list[Path], masks: list[Path]) -> Mapping[Path, Path]:
    """What typed settings pair."""
    keys = dict(each.split("=", 1) for each in shlex.split(typed))
    if name := keys.get("dataset.files.layout"):
        tree = next(tree for key, tree in TREES.items() if key == name)
        channel, label = keys.get("dataset.files.channel", tree.channel), keys.get("dataset.files.label", "")
        patterns = [each.replace("{channel}", channel).replace("{label}", label) for each in (tree.images, tree.masks)]
    else:
        patterns = [keys["dataset.files.images"], keys["dataset.files.masks"]]
    own = Pattern(patterns[1])
    known = [path for path in masks if own.read(path.relative_to(ROOT).as_posix()) is not None]
    found = pair(ROOT, Pattern(patterns[0]), own, [path for path in images if path not in known], masks)
    return {found.images[name]: path for name, path in found.masks.items() if name in found.images}


@pytest.mark.parametrize("tree", ODD)
def test_a_tree_that_is_none_of_the_known_ones_is_paired_by_what_is_proposed(tree: str) -> None:
    wanted = files(*ODD[tree])
    masks = likely_masks(ROOT, [*wanted, *wanted.values()])
    assert masks == list(wanted.values())
    found = propose(ROOT, list(wanted), masks)
    assert found is not None and found.pairs == len(wanted), found
    assert paired(found.typed, list(wanted), masks) == wanted, found.typed
    assert found.said == f"{found.typed} pairs 3 of them"


names = st.text("abx-_", max_size=4)
ids = st.lists(st.integers(0, 5000).map(str), min_size=2, max_size=5, unique=True)


@given(names, names, names, names, st.sampled_from([".png", ".tif", ".nii.gz"]), ids)
def test_any_signs_around_an_id_are_found(a: str, b: str, c: str, d: str, ending: str, numbers: list[str]) -> None:
    wanted = files(f"scans/{a}{{}}{b}{ending}", f"truth/{c}{{}}{d}.png", tuple(numbers))
    found = propose(ROOT, list(wanted), list(wanted.values()))
    assert found is not None and found.pairs == len(numbers)
    assert paired(found.typed, list(wanted), list(wanted.values())) == wanted, found.typed


@pytest.mark.parametrize(
    ("image", "mask", "typed"),
    [
        ("imagesTr/la_{}_0000.nii.gz", "labelsTr/la_{}.nii.gz", "dataset.files.layout=nnunet"),
        ("s{}/ct.nii.gz", "s{}/segmentations/liver.nii.gz", "dataset.files.layout=totalsegmentator "
         "dataset.files.label=liver"),
        ("B_{}/B_{}_t1ce.nii.gz", "B_{}/B_{}_seg.nii.gz", "dataset.files.layout=brats dataset.files.channel=t1ce"),
        ("sub-{}/anat/sub-{}_T1w.nii.gz", "derivatives/m/sub-{}/anat/sub-{}_desc-brain_mask.nii.gz",
         "dataset.files.layout=bids"),
    ],
)  # fmt: skip
def test_a_known_tree_is_called_by_its_name(image: str, mask: str, typed: str) -> None:
    wanted = {ROOT / image.replace("{}", each): ROOT / mask.replace("{}", each) for each in IDS}
    found = propose(ROOT, list(wanted), list(wanted.values()))
    assert found is not None and found.typed == typed and paired(typed, list(wanted), list(wanted.values())) == wanted


def test_nothing_is_proposed_where_nothing_pairs() -> None:
    assert propose(ROOT, [ROOT / "i/a.png"], [ROOT / "m/z.png"]) is None
    assert propose(ROOT, [], [ROOT / "m/z.png"]) is None and propose(ROOT, [ROOT / "a.png"], []) is None
    said = unpaired(ROOT, {"a": ROOT / "i/a.png"}, {"z": ROOT / "m/z.png"})
    assert said.endswith("nothing that their names have in common pairs them. Give a table, dataset.files.table=FILE.")


def test_a_suffix_alone_is_said_as_such() -> None:
    images, masks = {"a": ROOT / "i/a.png", "b": ROOT / "i/b.png"}, {"a_seg": ROOT / "m/a_seg.png"}
    assert unpaired(ROOT, images, masks, ["a_seg"]).endswith("dataset.files.mask_suffix=_seg pairs 1 of them.")


@pytest.mark.parametrize("tree", ODD)
def test_typed_as_it_stands_it_opens_the_folder(tmp_path: Path, picture: Save, opened: Open, tree: str) -> None:
    if ".nii" in ODD[tree][0]:
        pytest.skip("of volumes there is a test beside the patterns")
    for image, mask in files(*ODD[tree]).items():
        for path in (image, mask):
            form = {".jpg": "jpeg", ".tif": "tiff"}.get(path.suffix.lower(), path.suffix[1:].lower())
            picture(tmp_path / path.relative_to(ROOT), np.eye(8, dtype=np.uint8) * 255, format=form)
    try:
        dataset = opened("folder", tmp_path)
    except DataError as error:
        typed = str(error).partition("elsewhere: ")[2] or str(error).rpartition(": ")[2]
        keys = [each.removeprefix("dataset.") for each in shlex.split(typed) if each.startswith("dataset.")]
        dataset = opened(
            "folder", tmp_path, *(f"{key}='{value}'" for key, value in (each.split("=", 1) for each in keys))
        )
    cases = [ref.load() for ref in dataset.refs]
    assert len(cases) == 3 and all(case.mask is not None for case in cases)


def proposed(root: Path, opened: Open) -> list[str]:
    """What the error on a folder proposes, as a test sets it."""
    with pytest.raises(DataError, match=r"but elsewhere: ") as caught:
        opened("folder", root)
    typed = str(caught.value).partition("elsewhere: ")[2]
    keys = [each.removeprefix("dataset.") for each in shlex.split(typed) if each.startswith("dataset.")]
    return [each if each.endswith("=null") else "='".join(each.split("=", 1)) + "'" for each in keys]


def test_archives_a_coco_file_and_images_without_masks_are_proposed_as_such(
    tmp_path: Path, picture: Save, opened: Open
) -> None:
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "a.npz", imgs=np.zeros((8, 9), np.uint8), gts=np.ones((8, 9), np.uint8))
    assert opened("folder", tmp_path / "npz", *proposed(tmp_path / "npz", opened)).refs[0].load().mask is not None
    for name in ("1", "2"):
        picture(tmp_path / "coco" / "train" / f"{name}.png")
        picture(tmp_path / "scans" / "deep" / f"{name}.png")
    told = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 12, "width": 16} for n in (1, 2)],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 6, 1, 6, 5, 1, 5]]}],
        "categories": [{"id": 1, "name": "liver"}],
    }
    (tmp_path / "coco" / "train.json").write_text(json.dumps(told))
    assert opened("folder", tmp_path / "coco", *proposed(tmp_path / "coco", opened)).refs[0].load().mask is not None
    assert len(opened("folder", tmp_path / "scans", *proposed(tmp_path / "scans", opened)).refs) == 2


def test_images_without_masks_at_their_place_are_told_nothing_of_the_kind(
    tmp_path: Path, picture: Save, opened: Open
) -> None:
    picture(tmp_path / "images" / "a.png")
    np.savez(tmp_path / "b.npz", imgs=np.zeros((8, 9), np.uint8))
    assert [each.kind for each in opened("folder", tmp_path).beside] == ["unscored"]
