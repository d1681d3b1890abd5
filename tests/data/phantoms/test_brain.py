"""The brain phantom: anatomy that holds together, six scanners that differ, and files as CC359 has them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp.data._phantoms.brain import LABELS, PARTS, PROFILES, anatomy, brain_mask, render, write_cc359
from salip_exp.data._phantoms.sculpt import lookup
from salip_exp.errors import ConfigError, EnvironmentFault

COARSE = 3.0
SEEDS = range(5)


def head(seed: int, voxel_mm: float = COARSE) -> NDArray[np.uint8]:
    return anatomy(np.random.default_rng([seed, 0]), voxel_mm)


@pytest.fixture(scope="module")
def heads() -> list[NDArray[np.uint8]]:
    return [head(seed) for seed in SEEDS]


def digest(array: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_anatomy_has_the_field_of_view_and_type_promised() -> None:
    labels = head(0, 4.0)
    assert labels.dtype == np.uint8
    assert labels.shape == (46, 58, 54)
    assert anatomy(np.random.default_rng(0), (6.0, 4.0, 4.0)).shape == (31, 58, 54)


def test_same_seed_gives_the_same_bytes_and_they_are_the_pinned_ones() -> None:
    labels = head(1, 4.0)
    image = render(labels, PROFILES["Philips 3"], np.random.default_rng(2), 4.0)
    assert np.array_equal(labels, head(1, 4.0))
    assert np.array_equal(image, render(labels, PROFILES["Philips 3"], np.random.default_rng(2), 4.0))
    assert digest(labels) == "f48630961ec5026bd685048e92fb8ad3d0a579f01c6f746cef4b99de306fabe3"
    assert digest(image.astype("<i2")) == "583129e8e1b639a7d94eed4d9e9603159696f47b0bcaaba00203334b561765ec"


def test_every_label_occurs_and_every_part_names_known_labels(heads: list[NDArray[np.uint8]]) -> None:
    seen = set(np.unique(np.concatenate([h.ravel() for h in heads])).tolist())
    assert seen == set(LABELS.values())
    assert all(set(part) <= set(LABELS.values()) and part for part in PARTS.values())
    assert set(PARTS["head"]) == set(LABELS.values()) - {LABELS["air"]}


def test_two_seeds_give_visibly_different_heads(heads: list[NDArray[np.uint8]]) -> None:
    table = lookup(PARTS["brain"])
    for first, second in pairwise(heads):
        a, b = table[first], table[second]
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) < 0.97
        both = a & b
        assert (first[both] != second[both]).mean() > 0.2


def test_brain_is_one_body_of_human_size_inside_the_skull(heads: list[NDArray[np.uint8]]) -> None:
    for labels in heads:
        brain = lookup(PARTS["brain"])[labels]
        parts, _ = ndimage.label(brain, np.ones((3, 3, 3)))
        assert np.bincount(parts.ravel())[1:].max() > 0.999 * brain.sum()
        assert 900 < brain.sum() * COARSE**3 / 1000 < 1900
        outside = np.isin(labels, [LABELS["air"], LABELS["skin"], LABELS["scalp"], LABELS["sinus_air"]])
        assert (ndimage.binary_dilation(brain) & outside).sum() < 0.001 * brain.sum()
        assert brain.sum() < 0.6 * (labels > 0).sum()


def test_organs_lie_where_they_do_in_people(heads: list[NDArray[np.uint8]]) -> None:
    for labels in heads:
        centre = {name: np.argwhere(lookup(part)[labels]).mean(0) * COARSE for name, part in PARTS.items()}
        assert centre["cerebellum"][2] < centre["cerebrum"][2] - 30
        assert centre["cerebellum"][1] < centre["cerebrum"][1] - 25
        assert centre["eyes"][1] > centre["brain"][1] + 50
        assert np.linalg.norm(centre["ventricles"] - centre["cerebrum"]) < 25
        assert abs(centre["cerebrum"][0] - centre["head"][0]) < 8


def test_cortex_is_folded(heads: list[NDArray[np.uint8]]) -> None:
    for labels in heads:
        inside = ndimage.binary_erosion(lookup(PARTS["cerebrum"])[labels], iterations=3)
        buried = np.isin(labels[inside], [LABELS["grey_matter"], LABELS["sulcal_csf"]]).mean()
        assert 0.1 < buried < 0.7


def test_mask_fills_the_sulci_and_keeps_to_the_brain(heads: list[NDArray[np.uint8]]) -> None:
    for labels in heads:
        mask, brain = brain_mask(labels, COARSE), lookup(PARTS["brain"])[labels]
        assert mask.dtype == np.bool_ and mask.shape == labels.shape
        assert 2 * (mask & brain).sum() / (mask.sum() + brain.sum()) > 0.96
        assert mask[labels == LABELS["ventricle"]].mean() > 0.99


def test_six_profiles_are_the_groups_of_cc359() -> None:
    assert list(PROFILES) == ["GE 1.5", "GE 3", "Philips 1.5", "Philips 3", "Siemens 1.5", "Siemens 3"]
    assert {(p.vendor, p.field) for p in PROFILES.values()} == {
        (vendor, field) for vendor in ("ge", "philips", "siemens") for field in ("15", "3")
    }


def test_tissues_are_ordered_as_in_t1_and_profiles_differ(heads: list[NDArray[np.uint8]]) -> None:
    signatures = []
    for profile in PROFILES.values():
        image = render(heads[0], profile, np.random.default_rng(3), COARSE)
        assert image.dtype == np.int16 and image.shape == heads[0].shape and image.min() >= 0
        white, grey, csf, bone = (
            float(np.median(image[heads[0] == LABELS[name]])) for name in ("white_matter", "grey_matter", "csf", "bone")
        )
        assert white > grey > csf > bone
        air = float(image[:6, -6:, -6:].mean()) / white
        signatures.append((white, grey / white, air))
    levels = np.array(signatures)
    for column, least in zip(levels.T, (100.0, 0.008, 0.001), strict=True):
        assert np.diff(np.sort(column)).min() > 0 and np.ptp(column) > 5 * least


def test_noise_and_bias_do_what_they_say(heads: list[NDArray[np.uint8]]) -> None:
    clean = replace(PROFILES["GE 3"], noise=0.0, bias=0.0, ghost=0.0, ringing=0.0)
    base = render(heads[0], clean, np.random.default_rng(4), COARSE).astype(float)
    noisy = render(heads[0], replace(clean, noise=0.1), np.random.default_rng(4), COARSE)
    biased = render(heads[0], replace(clean, bias=0.3), np.random.default_rng(4), COARSE)
    assert base[:6, -6:, -6:].max() == 0
    assert noisy[:6, -6:, -6:].mean() == pytest.approx(0.1 * clean.white * np.sqrt(np.pi / 2), rel=0.1)
    ratio = biased[base > 500] / base[base > 500]
    assert 0.08 < ratio.std() < 0.5


@pytest.mark.ci
def test_written_layout_is_that_of_cc359(tmp_path: Path) -> None:
    write_cc359(tmp_path, 1, 7)
    images = sorted((tmp_path / "Original").glob("*/*.nii.gz"))
    assert len(images) == 6 and len([p for p in tmp_path.rglob("*") if p.is_file()]) == 12
    pattern = re.compile(r"CC(\d{4})_(ge|philips|siemens)_(15|3)_(\d\d)_([MF])\.nii\.gz")
    matches = [pattern.fullmatch(path.name) for path in images]
    assert [m.group(1) for m in matches if m] == [f"{n:04d}" for n in range(1, 7)]
    for path, profile in zip(images, PROFILES.values(), strict=True):
        mask_path = tmp_path / "Silver-standard" / path.parent.name / path.name.replace(".nii.gz", "_ss.nii.gz")
        image, mask = nib.load(path), nib.load(mask_path)
        assert f"_{profile.vendor}_{profile.field}_" in path.name
        assert image.get_data_dtype() == np.int16 and mask.get_data_dtype() == np.uint8
        assert image.shape == mask.shape and np.array_equal(image.affine, mask.affine)
        assert "".join(nib.aff2axcodes(image.affine)) == profile.stored != "RAS"
        canonical = nib.as_closest_canonical(mask)
        assert canonical.header.get_zooms() == pytest.approx(profile.voxel_mm)
        where = np.argwhere(np.asarray(canonical.dataobj) > 0)
        assert where[:, 2].mean() > 0.5 * canonical.shape[2]  # the brain is in the upper half: z points up
        assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}


def test_errors_are_one_line_and_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        write_cc359(tmp_path, 0, 0)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("salip_exp._files.os.fsync", full)
    with pytest.raises(EnvironmentFault, match="No space left"):
        write_cc359(tmp_path, 1, 0)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
