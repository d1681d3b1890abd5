"""CC359: volumes by vendor and field strength."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salip_exp.data.case import Dataset
from salip_exp.data.readers.cc359 import group_of
from salip_exp.errors import DataError

Save = Callable[..., Path]
Open = Callable[..., Dataset]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("CC0001_philips_15_55_M", "Philips 1.5"),
        ("CC0060_philips_3_61_F", "Philips 3"),
        ("CC0120_siemens_15_58_F", "Siemens 1.5"),
        ("CC0300_siemens_3_41_M", "Siemens 3"),
        ("CC0181_GE_15_44_F", "GE 1.5"),
        ("CC0240_ge_3_60_M", "GE 3"),
        ("CC0240_toshiba_3_60_M", None),
        ("CC0240_ge_7_60_M", None),
        ("CC0240_ge_3_60_M_staple", None),
        ("brain", None),
    ],
)
def test_vendor_and_field_stand_in_the_name(name: str, group: str | None) -> None:
    assert group_of(name) == group


def test_slices_carry_volume_group_and_spacing(tmp_path: Path, brain: Save, opened: Open) -> None:
    brain(tmp_path, zooms=(1.0, 0.5, 2.0), stored="PSR")
    dataset = opened("cc359", tmp_path, "resize.mode=native", "volume.trim_mm=1")
    assert [ref.slice for ref in dataset.refs] == [4, 5, 6, 7] and dataset.found == 4
    case = dataset.refs[0].load()
    assert case.case_id == "CC0001_philips_15_55_M/sagittal_004"
    assert (case.group, case.volume, case.subject) == ("Philips 1.5", *["CC0001_philips_15_55_M"] * 2)
    assert case.image.shape == (8, 10, 3) and case.spacing == pytest.approx((2.0, 0.5))
    target = np.zeros((8, 10), bool)
    target[2:6, 2:8] = True
    assert case.mask is not None and (case.mask == target).all()


@pytest.mark.fault("D12")
def test_d12_spacing_follows_the_resizing(tmp_path: Path, brain: Save, opened: Open) -> None:
    brain(tmp_path, zooms=(1.0, 0.5, 2.0))
    case = opened("cc359", tmp_path, "resize.side=20", "volume.trim_mm=0").refs[0].load()
    assert case.image.shape == (16, 20, 3) and case.spacing == pytest.approx((1.0, 0.25))


def test_volumes_come_by_number_and_foreign_names_are_listed(tmp_path: Path, brain: Save, opened: Open) -> None:
    for name in ("CC0010_ge_3_50_F", "CC0002_siemens_15_50_F", "phantom_of_the_lab"):
        brain(tmp_path, name)
    dataset = opened("cc359", tmp_path, "volume.trim_mm=0", "volume.per_volume=2")
    assert [ref.case_id for ref in dataset.refs] == [
        f"{name}/sagittal_{number:03d}" for name in ("CC0002_siemens_15_50_F", "CC0010_ge_3_50_F") for number in (3, 8)
    ]
    assert [name for name, _ in dataset.excluded] == ["phantom_of_the_lab"]


def test_the_limit_counts_slices(tmp_path: Path, brain: Save, opened: Open) -> None:
    for number in range(1, 4):
        brain(tmp_path, f"CC000{number}_ge_3_50_F")
    refs = opened("cc359", tmp_path, "volume.trim_mm=0", "volume.per_volume=2", "limit=3").refs
    assert [(ref.volume or "")[:6] for ref in refs] == ["CC0001", "CC0001", "CC0002"]


def test_a_volume_that_trimming_eats_up_is_listed(tmp_path: Path, brain: Save, opened: Open) -> None:
    brain(tmp_path)
    with pytest.raises(DataError, match="trim_mm"):
        opened("cc359", tmp_path)


@pytest.mark.fault("D3")
def test_d3_volumes_without_masks_are_left_out_or_predicted(tmp_path: Path, brain: Save, opened: Open) -> None:
    brain(tmp_path, "CC0001_ge_3_50_F")
    brain(tmp_path, "CC0002_ge_3_50_F", mask=False)
    keys = ("volume.trim_mm=0", "volume.per_volume=2")
    assert opened("cc359", tmp_path, *keys).excluded == [("CC0002_ge_3_50_F", "no mask")]
    refs = opened("cc359", tmp_path, *keys, "missing_masks=predict").refs
    assert [ref.slice for ref in refs] == [3, 8, 0, 11] and refs[2].load().mask is None


@pytest.mark.fault("D16")
def test_d16_one_volume_in_two_folders_is_refused(tmp_path: Path, brain: Save, volume: Save, opened: Open) -> None:
    path = brain(tmp_path)
    volume(tmp_path / "Original" / "T" / path.name, np.ones((3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"Original/S/.* and .*Original/T/"):
        opened("cc359", tmp_path)


@pytest.mark.fault("D17")
def test_d17_a_folder_without_volumes_is_told_the_layout(tmp_path: Path, opened: Open) -> None:
    with pytest.raises(DataError, match="holds no images: CC359 wants Original/<SITE>/CC0001"):
        opened("cc359", tmp_path)
