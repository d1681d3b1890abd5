"""Windows: by name, by numbers, by the header, by percentiles; numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import DatasetConfig, Display, Side, Volume
from salip_exp.data._windows import by_percentiles
from salip_exp.data.case import Case
from salip_exp.data.loading import slice_refs
from salip_exp.data.volumes import read_windowed
from salip_exp.errors import CaseError, ConfigError

Save = Callable[..., Path]
Configure = Callable[..., DatasetConfig]
UNITS = [-1024, -600, -160, 0, 40, 57, 80, 240, 400, 1300]


@pytest.mark.parametrize(
    ("window", "greys"),
    [
        ("soft_tissue", [0, 0, 0, 102, 128, 138, 153, 255, 255, 255]),
        ("lung", [55, 128, 202, 230, 236, 239, 243, 255, 255, 255]),
        ("bone", [0, 0, 48, 71, 76, 79, 82, 105, 128, 255]),
        ("brain", [0, 0, 0, 0, 128, 182, 255, 255, 255, 255]),
        ([0, 1000], [0, 0, 0, 0, 10, 15, 20, 61, 102, 255]),
        ("header", [0, 0, 0, 64, 89, 100, 115, 217, 255, 255]),
    ],
)
def test_a_window_shows_hounsfield_units_as_worked_out_by_hand(
    tmp_path: Path, window: object, greys: list[int]
) -> None:
    image = nib.Nifti1Image(np.array(UNITS, np.int16).reshape(10, 1, 1), np.eye(4))
    image.header["cal_min"], image.header["cal_max"] = -100, 300
    nib.save(image, tmp_path / "ct.nii")
    assert read_windowed(tmp_path / "ct.nii", Volume(window=window)).values.ravel().tolist() == greys


def test_a_header_without_a_window_is_no_window(tmp_path: Path, volume: Save) -> None:
    with pytest.raises(CaseError, match=r"its header names no window: set dataset\.volume\.window="):
        read_windowed(volume(tmp_path / "a.nii", np.ones((2, 2, 2), np.int16)), Volume(window="header"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("window=spleen", "give soft_tissue, lung, bone, brain, header, or"),
        ("window=[240,-160]", r"in the image's own units, e\.g\. \[-160,240\]"),
        ("window=[a,b]", "is no window"),
        ("window_low=-160", r"a percentile; numbers .* dataset\.volume\.window=\[LOW,HIGH\]"),
        ("window_low=60", "allowed is 0 to 50, a percentile"),
    ],
)
def test_what_is_no_window_is_refused_with_what_is(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        typed(compose(["dataset=folder", "vdt=brain", f"dataset.volume.{override}"]))


def test_numbers_are_read_as_they_are_typed() -> None:
    chosen = typed(compose(["dataset=folder", "vdt=brain", "dataset.volume.window=[-160,240]"]))
    assert chosen.dataset.volume.window == [-160, 240]


def two_kidneys(tmp_path: Path, volume: Save, settings: DatasetConfig) -> Case:
    """The axial slice of a volume with a bright organ on the patient's right (x high) and a dark one on his left."""
    image, target = np.full((20, 10, 3), 50, np.int16), np.zeros((20, 10, 3), np.uint8)
    image[14:18, 3:7], image[2:6, 3:7] = 100, 20
    target[14:18, 3:7] = target[2:6, 3:7] = 1
    paths = volume(tmp_path / "i.nii", image, "LPS"), volume(tmp_path / "m.nii", target, "LPS")
    return slice_refs("v", "g", *paths, settings)[1].load()


@pytest.mark.parametrize("display", Display)
@pytest.mark.parametrize("side", [Side.left, Side.right])
@pytest.mark.parametrize("axis", ["axial", "coronal"])
def test_the_side_of_a_patient_is_his_however_he_is_shown(
    tmp_path: Path, volume: Save, config: Configure, display: Display, side: Side, axis: str
) -> None:
    keys = ("resize.mode=native", f"volume.display={display}", f"volume.axis={axis}", f"side={side}")
    case = two_kidneys(tmp_path, volume, config("folder", *keys, "volume.skip_empty=true"))
    assert case.mask is not None and case.source is not None
    assert {int(grey) for grey in case.image[case.mask][:, 0]} == {255 if side is Side.right else 0}
    on_the_left_of_the_picture = (side is Side.left) is (display is Display.neurological)
    assert case.mask[:, :10].any() == on_the_left_of_the_picture != case.mask[:, 10:].any()
    assert case.source.mirrored is (display is Display.radiological)


def test_a_sagittal_slice_has_no_side(tmp_path: Path, volume: Save, config: Configure) -> None:
    with pytest.raises(CaseError, match=r"is no part of a sagittal slice: set dataset\.volume\.axis=axial"):
        two_kidneys(tmp_path, volume, config("folder", "side=left"))


def test_a_volume_of_two_values_keeps_both() -> None:
    values = np.zeros((5, 5, 5))
    values[1:4] = 9
    assert (by_percentiles(values, 0.5, 99.5) == np.where(values > 0, 255, 0)).all()


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_the_window_does_not_depend_on_the_scale(scale: float, seed: int) -> None:
    values = np.random.default_rng(seed).gamma(2, 100, (8, 8, 8))
    assert np.abs(by_percentiles(values, 0.5, 99.5).astype(int) - by_percentiles(values * scale, 0.5, 99.5)).max() <= 1


def test_the_window_is_robust_against_outliers_and_empty_background() -> None:
    values = np.zeros((20, 20, 20))
    values[5:15, 5:15, 5:15] = np.random.default_rng(0).uniform(100, 200, (10, 10, 10))
    plain = by_percentiles(values, 0.5, 99.5)
    values[7, 7, 7] = 1e9
    assert np.abs(plain.astype(int) - by_percentiles(values, 0.5, 99.5))[values < 1e9].max() <= 2
    assert plain[0, 0, 0] == 0 and 100 < np.median(plain[5:15, 5:15, 5:15]) < 155


@pytest.mark.parametrize(
    ("window", "lowest", "told"), [(None, -1024, True), (None, -300, False), ("lung", -1024, False)]
)
def test_a_ct_in_percentiles_is_told(tmp_path: Path, volume: Save, window: object, lowest: int, told: bool) -> None:
    path = volume(tmp_path / "a.nii", np.linspace(lowest, 900, 8).reshape(2, 2, 2).astype(np.int16))
    notes = read_windowed(path, Volume(window=window)).notes
    assert any("looks like a CT in percentiles" in each for each in notes) is told
