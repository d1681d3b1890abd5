"""Patterns that pair images and masks: what they read in names, and the trees that people have."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.data.case import Dataset
from salip_exp.data.readers._patterns import Pattern, pair
from salip_exp.errors import ConfigError, DataError

Save = Callable[..., Path]
Open = Callable[..., Dataset]
BALL = np.pad(np.ones((2, 3, 4), np.uint8), 2)
WHOLE = ("volume.trim_mm=0", "volume.per_volume=1")
TREES = {
    "nnunet": (
        ["imagesTr/la_001_0000", "imagesTr/la_001_0001", "labelsTr/la_001", "imagesTr/la_10_0000", "labelsTr/la_10"],
        {"la_001": ("imagesTr/la_001_0000", "labelsTr/la_001"), "la_10": ("imagesTr/la_10_0000", "labelsTr/la_10")},
        ["imagesTr/{id}_0000.nii.gz", "labelsTr/{id}.nii.gz"],
        ["files.layout=nnunet"],
    ),
    "decathlon": (
        ["imagesTr/liver_0", "imagesTr/liver_10", "labelsTr/liver_0", "labelsTr/liver_10", "imagesTs/liver_5"],
        {"liver_0": ("imagesTr/liver_0", "labelsTr/liver_0"), "liver_10": ("imagesTr/liver_10", "labelsTr/liver_10")},
        ["imagesTr/{id}.nii.gz", "labelsTr/{id}.nii.gz"],
        ["files.layout=decathlon"],
    ),
    "totalsegmentator": (
        ["s0001/ct", "s0001/segmentations/liver", "s0001/segmentations/spleen", "s2/ct", "s2/segmentations/liver"],
        {"s0001": ("s0001/ct", "s0001/segmentations/liver"), "s2": ("s2/ct", "s2/segmentations/liver")},
        ["{id}/ct.nii.gz", "{id}/segmentations/liver.nii.gz"],
        ["files.layout=totalsegmentator", "files.label=liver"],
    ),
    "brats": (
        ["B_01/B_01_flair", "B_01/B_01_t1", "B_01/B_01_seg", "B_2/B_2_flair", "B_2/B_2_seg"],
        {"B_01": ("B_01/B_01_flair", "B_01/B_01_seg"), "B_2": ("B_2/B_2_flair", "B_2/B_2_seg")},
        ["{id}/{id}_flair.nii.gz", "{id}/{id}_seg.nii.gz"],
        ["files.layout=brats"],
    ),
    "brats 2023": (
        ["B-01-000/B-01-000-t2f", "B-01-000/B-01-000-t1n", "B-01-000/B-01-000-seg"],
        {"B-01-000": ("B-01-000/B-01-000-t2f", "B-01-000/B-01-000-seg")},
        ["{id}/{id}-t2f.nii.gz", "{id}/{id}-seg.nii.gz"],
        ["files.layout=brats", "files.channel=t2f"],
    ),
    "bids": (
        [
            *("sub-01/anat/sub-01_T1w", "derivatives/m/sub-01/anat/sub-01_desc-brain_mask"),
            *("sub-2/ses-b/anat/sub-2_ses-b_T1w", "derivatives/m/sub-2/ses-b/anat/sub-2_ses-b_space-orig_mask"),
        ],
        {
            "sub-01": ("sub-01/anat/sub-01_T1w", "derivatives/m/sub-01/anat/sub-01_desc-brain_mask"),
            "sub-2_ses-b": (
                "sub-2/ses-b/anat/sub-2_ses-b_T1w", "derivatives/m/sub-2/ses-b/anat/sub-2_ses-b_space-orig_mask",
            ),
        },
        ["sub-{subject}/**/{id}_T1w.nii.gz", "derivatives/**/{id}_*mask.nii.gz"],
        ["files.layout=bids"],
    ),
}  # fmt: skip


def tree(root: Path, volume: Save, names: Sequence[str]) -> None:
    for name in names:
        values = (np.arange(BALL.size).reshape(BALL.shape) % 90 + 1).astype(np.int16)
        volume(root / f"{name}.nii.gz", BALL if "seg" in name or "mask" in name or "label" in name else values)


def pairs(dataset: Dataset, root: Path) -> dict[str, tuple[str, str]]:
    """Image and mask of every case as they were read, without `.nii.gz`."""
    found = {}
    for ref in dataset.refs:
        source = ref.load().source
        assert source is not None and source.mask is not None
        names = (each.relative_to(root).as_posix().removesuffix(".nii.gz") for each in (source.image, source.mask))
        found[str(ref.volume)] = (*names,)
    return found


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("by", ["patterns", "layout", "proposal"])
def test_every_tree_is_paired_by_patterns_by_its_layout_and_by_what_is_proposed(
    tmp_path: Path, volume: Save, opened: Open, name: str, by: str
) -> None:
    files, right, patterns, layout = TREES[name]
    tree(tmp_path, volume, files)
    keys = [f"files.images='{patterns[0]}'", f"files.masks='{patterns[1]}'"] if by == "patterns" else layout
    if by == "proposal":
        with pytest.raises(DataError, match=r"dataset\.files\..* pairs \d+ of them") as caught:
            opened("folder", tmp_path)
        proposed = str(caught.value).rpartition(": ")[2]
        keys = [each.removeprefix("dataset.") for each in shlex.split(proposed) if each.startswith("dataset.files.")]
    assert pairs(opened("folder", tmp_path, *keys, *WHOLE), tmp_path) == right


def test_groups_and_subjects_stand_in_names(tmp_path: Path, picture: Save, opened: Open) -> None:
    for site, patient in (("A", "p1"), ("A", "p2"), ("B", "p1")):
        picture(tmp_path / site / patient / "scan_3.png")
        picture(tmp_path / site / patient / "truth_3.png", np.zeros((12, 16), np.uint8))
    keys = ("files.images='{group}/{subject}/scan_{id}.png'", "files.masks='{group}/{subject}/truth_{id}.png'")
    refs = opened("folder", tmp_path, *keys).refs
    assert [(ref.case_id, ref.group, ref.subject) for ref in refs] == [
        ("A/p1/3", "A", "p1"), ("A/p2/3", "A", "p2"), ("B/p1/3", "B", "p1"),
    ]  # fmt: skip
    case = refs[0].load()
    assert (case.group, case.subject) == ("A", "p1") and case.mask is not None


def test_what_follows_the_id_of_a_mask_does_not_matter(tmp_path: Path) -> None:
    images = [tmp_path / f"i/{name}.png" for name in ("a", "a_1", "b")]
    masks = [tmp_path / f"m/{name}.png" for name in ("a_1_by_me", "a_by_me", "c_by_me")]
    found = pair(tmp_path, Pattern("i/{id}.png"), Pattern("m/{id}*.png"), images, masks)
    assert {name: path.name for name, path in found.masks.items()} == {
        "a_1": "a_1_by_me.png", "a": "a_by_me.png", "c_by_me": "c_by_me.png",
    }  # fmt: skip
    assert found.both == 2


def test_two_files_of_one_id_are_an_error_that_says_how_to_narrow(tmp_path: Path, picture: Save, opened: Open) -> None:
    for folder in ("x", "y"):
        picture(tmp_path / folder / "a.png")
    with pytest.raises(DataError, match=r"x/a\.png.*y/a\.png have one name, 'a'.*narrow the pattern"):
        opened("folder", tmp_path, "files.images='*/{id}.png'", "files.masks=null")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("files.images='{name}.png'", "files.masks='{name}_m.png'"), r"names \{name\}: a pattern knows \{id\}"),
        (("files.images='{id}.png'", "files.masks='masks/*.png'"), r"files\.masks=masks/\*\.png needs \{id\}"),
        (("files.images='../{id}.png'", "files.masks=null"), "must be a glob below"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(
    tmp_path: Path, picture: Save, opened: Open, keys: tuple[str, ...], said: str
) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=said):
        opened("folder", tmp_path, *keys)


@given(st.text("ab1_-. ", min_size=1, max_size=8), st.sampled_from(["_0000", "", "-x"]), st.sampled_from(["", "_seg"]))
def test_any_id_is_read_between_any_suffixes(name: str, one: str, other: str) -> None:
    root = Path("root")
    images, masks = Pattern(f"i/{{id}}{one}.png"), Pattern(f"m/{{id}}{other}.png")
    found = pair(root, images, masks, [root / f"i/{name}{one}.png"], [root / f"m/{name}{other}.png"])
    assert list(found.images) == list(found.masks) == [name]


def test_labels_and_channels_go_by_the_names_that_dataset_json_gives(
    tmp_path: Path, volume: Save, opened: Open
) -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:3], labels[3:] = 1, 2
    for channel in (0, 1):
        volume(tmp_path / f"imagesTr/a_000{channel}.nii.gz", np.full((6, 6, 6), 10 + channel, np.int16))
    volume(tmp_path / "labelsTr/a.nii.gz", labels)
    keys = ("files.layout=nnunet", "volume.trim_mm=0", "resize.mode=native", "volume.axis=axial")
    for told in ({"background": 0, "liver": 1, "spleen": 2}, {"0": "background", "1": "liver", "2": "spleen"}):
        content = {"labels": told, "channel_names": {"0": "T1", "1": "T2"}}
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        case = opened("folder", tmp_path, *keys, "files.label=spleen", "files.channel=T2").refs[0].load()
        assert case.mask is not None and case.mask[:, 3:].all() and not case.mask[:, :3].any()
        assert case.source is not None and case.source.image.name == "a_0001.nii.gz"
    with pytest.raises(ConfigError, match=r"label=heart is a name .* it names background, liver, spleen"):
        opened("folder", tmp_path, *keys, "files.label=heart")
    with pytest.raises(ConfigError, match=r"channel=FLAIR is no channel .* names T1, T2"):
        opened("folder", tmp_path, *keys, "files.label=1", "files.channel=FLAIR")


def test_a_channel_without_a_number_is_none(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "dataset.json").write_text('{"modality": {"x": "CT"}}')
    with pytest.raises(ConfigError, match="channel=CT is no channel of"):
        opened("folder", tmp_path, "files.layout=nnunet", "files.channel=CT")


def test_a_layout_with_a_mask_for_each_organ_asks_which(tmp_path: Path, volume: Save, opened: Open) -> None:
    tree(tmp_path, volume, TREES["totalsegmentator"][0])
    with pytest.raises(ConfigError, match=r"label=NAME \(there are liver, spleen\)"):
        opened("folder", tmp_path, "files.layout=totalsegmentator")
