"""Predictions lie on their images: same grid, same place in space, own name."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from salip_exp._runs.folder import read_run
from salip_exp._runs.masks import mask_file, own_name, write_masks
from salip_exp._runs.runner import run
from salip_exp._wording import title
from salip_exp.config import (
    Axis,
    DatasetConfig,
    Display,
    MissingMasks,
    Resize,
    ResizeMode,
    ScoreAt,
    ScoreConfig,
    Volume,
)
from salip_exp.data.datasets import open_dataset
from salip_exp.errors import EnvironmentFault

OBLIQUE = np.array([[0.9, -0.3, 0.1, -50], [0.35, 1.4, -0.6, 20], [0.0, 0.5, 2.9, 7.5], [0, 0, 0, 1]])
"""Turned about two axes, and of voxels of three lengths."""


def config(root: Path, **changes) -> DatasetConfig:
    told = {"name": "own", "layout": "folder", "root": str(root), "missing_masks": MissingMasks.predict}
    return DatasetConfig(**(told | changes))


def run_of(fakes, root: Path, folder: Path, data: DatasetConfig, **changes) -> Path:
    """A run of what is bright over a data set of files."""
    lab = fakes.FakeLab([], fakes.Threshold())
    lab.cases = open_dataset(data, seed=1)
    assert run(fakes.config(dataset=data, **changes), folder, fakes.COMMAND, lab) == 0
    return folder


def volume(path: Path, values: np.ndarray, affine: np.ndarray, unit: str = "mm") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 2)
    image.header.set_xyzt_units(unit)
    image.header["descrip"] = b"Jane Doe"
    nib.save(image, path)
    return path


def ball(shape: tuple[int, int, int]) -> np.ndarray:
    grid = np.stack(np.mgrid[: shape[0], : shape[1], : shape[2]])
    center, radius = (np.array(shape) / 2)[:, None, None, None], np.array([0.2, 0.3, 0.35])[:, None, None, None]
    return (((grid - center) / (radius * np.array(shape)[:, None, None, None])) ** 2).sum(0) <= 1


@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.parametrize("turn", ["oblique", "stored otherwise"])
@pytest.mark.parametrize("display", list(Display))
def test_a_predicted_volume_lies_on_its_image(fakes, tmp_path, axis, turn, display):
    inside = ball((22, 30, 18))
    inside[:8, :9] = False  # no side of it is like the other
    affine = (
        OBLIQUE
        if turn == "oblique"
        else OBLIQUE @ nib.orientations.inv_ornt_aff([[1, -1], [2, 1], [0, -1]], (30, 18, 22))
    )
    values = np.where(inside, 250, 20).astype(np.int16)
    image = volume(tmp_path / "images" / "a" / "one.nii.gz", values, affine)
    volume(tmp_path / "masks" / "a" / "one.nii.gz", inside.astype(np.uint8), affine)
    slices = Volume(axis=axis, trim_mm=0, display=display)
    data = config(tmp_path, volume=slices, resize=Resize(ResizeMode.native))
    folder = run_of(fakes, tmp_path, tmp_path / "run", data)
    path = folder / "masks" / "a" / "one.nii.gz"
    mask, source = nib.load(path), nib.load(image)
    np.testing.assert_array_equal(mask.affine, source.affine)
    for form in ("qform", "sform"):
        for mine, other in zip(*(getattr(each, f"get_{form}")(coded=True) for each in (mask, source)), strict=True):
            np.testing.assert_array_equal(mine, other)
    assert mask.shape == source.shape and mask.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert b"Jane" not in bytes(mask.header["descrip"])
    found = np.asarray(mask.dataobj)
    assert found.dtype == np.uint8 and set(np.unique(found)) == {0, 1}
    np.testing.assert_array_equal(found, inside)
    mine, other = sitk.ReadImage(str(path)), sitk.ReadImage(str(image))
    for name in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_array_equal(getattr(mine, name)(), getattr(other, name)())
    table = pd.read_csv(folder / "cases.csv")
    assert set(table.prediction) == {"masks/a/one.nii.gz"} and set(table.image) == {str(image)}


def test_what_was_resized_is_led_back_without_a_shift(fakes, tmp_path):
    inside = ball((40, 50, 12))
    volume(tmp_path / "images" / "one.nii", np.where(inside, 250, 20).astype(np.int16), OBLIQUE)
    data = config(tmp_path, volume=Volume(axis=Axis.axial, trim_mm=0), resize=Resize(side=32))
    folder = run_of(fakes, tmp_path, tmp_path / "run", data)
    found = np.asarray(nib.load(folder / "masks" / "one.nii.gz").dataobj).astype(bool)
    shifts = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    shared = [(np.roll(found, shift, (0, 1)) & inside).sum() / np.logical_or(found, inside).sum() for shift in shifts]
    assert shared[0] == max(shared) and shared[0] > 0.85
    np.testing.assert_allclose(np.argwhere(found).mean(0), np.argwhere(inside).mean(0), atol=0.3)


def test_slices_that_were_not_asked_for_are_empty(fakes, tmp_path):
    inside = ball((16, 16, 16))
    volume(
        tmp_path / "images" / "one.nii", np.where(inside, 250, 20).astype(np.int16), np.diag([1, 1, 2, 1.0]), "meter"
    )
    data = config(tmp_path, volume=Volume(axis=Axis.axial, trim_mm=0, per_volume=3), resize=Resize(side=16))
    folder = run_of(fakes, tmp_path, tmp_path / "run", data)
    found = np.asarray(nib.load(folder / "masks" / "one.nii.gz").dataobj)
    numbers = pd.read_csv(folder / "cases.csv").slice.tolist()
    assert len(numbers) == 3
    np.testing.assert_array_equal(
        np.flatnonzero(found.any(axis=(0, 1))), [each for each in numbers if inside[..., each].any()]
    )


def test_a_picture_has_the_size_and_the_name_of_its_image(fakes, tmp_path):
    inside = np.zeros((90, 50), bool)
    inside[20:60, 10:30] = True
    path = tmp_path / "images" / "b c" / "scan 1.v2.jpg"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.where(inside, 250, 10).astype(np.uint8)).save(path, quality=95)
    folder = run_of(fakes, tmp_path, tmp_path / "run", config(tmp_path, resize=Resize(side=45)))
    assert pd.read_csv(folder / "cases.csv").prediction.tolist() == ["masks/b c/scan 1.v2.png"]
    with Image.open(folder / "masks" / "b c" / "scan 1.v2.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture) > 0, inside)


def test_what_is_gone_has_no_mask_and_is_told(fakes, tmp_path):
    volume(tmp_path / "images" / "one.nii", ball((9, 9, 9)).astype(np.int16), np.eye(4))
    data = config(tmp_path, volume=Volume(axis=Axis.axial, trim_mm=0), resize=Resize(side=16))
    folder = run_of(fakes, tmp_path, tmp_path / "run", data)
    records = read_run(folder).records
    (tmp_path / "images" / "one.nii").unlink()
    (said,) = write_masks(folder, records, data)
    assert said.startswith("no mask of one/axial_000: E_READ")
    assert not (folder / "masks" / "one.nii.gz").exists()


@pytest.mark.fault("I11")
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_cannot_be_read_at_the_moment_leaves_the_run_to_be_resumed(fakes, tmp_path, monkeypatch, number):
    """A finished run would lack the mask for good."""
    volume(tmp_path / "images" / "one.nii", ball((9, 9, 9)).astype(np.int16), np.eye(4))
    data = config(tmp_path, volume=Volume(axis=Axis.axial, trim_mm=0), resize=Resize(side=16))
    folder = run_of(fakes, tmp_path, tmp_path / "run", data)
    records = read_run(folder).records

    def refused(path, most):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("salip_exp._runs.records.read_file", refused)
        with pytest.raises(EnvironmentFault, match=r"are not made as yet: .* cannot be read"):
            write_masks(folder, records, data)
    assert write_masks(folder, records, data) == []


ODD = ["../a", "/a", "a//b", "a/../b", "", ".", "..", "a\\b", "a\nb", "x" * 300, "a.png/b", "a/./b"]


@pytest.mark.parametrize("name", ODD)
def test_a_hostile_id_stays_below_the_folder_of_masks(name):
    assert "/" not in own_name(name, ".png")


@given(st.lists(st.text(max_size=6), min_size=1, max_size=4).map("/".join))
def test_any_id_is_a_file_of_its_own_below_the_folder(tmp_path_factory, name):
    path = Path("masks") / own_name(name, ".png")
    assert ".." not in path.parts and not path.is_absolute() and path.name.endswith(".png")


def test_a_record_that_does_not_tell_its_image_has_no_mask(fakes, tmp_path):
    assert fakes.run_fake(tmp_path / "run") == 0
    assert list((tmp_path / "run" / "masks").iterdir()) == []
    assert {mask_file(each) for each in read_run(tmp_path / "run").records} == {None}


def test_scores_at_native_size_are_those_of_the_files(fakes, tmp_path):
    """Recomputed from what lies on disk, by nibabel alone."""
    inside = ball((40, 50, 12))
    for name, drawn in {"one": inside, "two": inside[::-1, ::-1]}.items():
        volume(tmp_path / "images" / f"{name}.nii.gz", np.where(drawn, 250, 20).astype(np.int16), OBLIQUE)
        volume(tmp_path / "masks" / f"{name}.nii.gz", np.roll(drawn, 2, 0).astype(np.uint8), OBLIQUE)
    data = config(tmp_path, volume=Volume(axis=Axis.axial, trim_mm=0), resize=Resize(side=32))
    working = run_of(fakes, tmp_path, tmp_path / "working", data)
    native = run_of(fakes, tmp_path, tmp_path / "native", data, score=ScoreConfig(at=ScoreAt.native, resamples=100))
    table = pd.read_csv(native / "cases.csv")
    for case in table.itertuples():
        mask, target = (np.asarray(nib.load(path).dataobj) > 0 for path in (native / case.prediction, case.mask))
        mask, target = mask[..., case.slice], target[..., case.slice]
        assert abs(case.dsc - 2 * (mask & target).sum() / (mask.sum() + target.sum())) < 1e-9
    of_volume = []
    for name in ("one", "two"):
        mask, target = (
            np.asarray(nib.load(path).dataobj) > 0
            for path in (native / "masks" / f"{name}.nii.gz", tmp_path / "masks" / f"{name}.nii.gz")
        )
        of_volume.append(2 * (mask & target).sum() / (mask.sum() + target.sum()))
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (working, native)]
    assert abs(summaries[1]["overall"]["volume_dsc"]["mean"] - np.mean(of_volume)) < 1e-9
    assert [title(each).endswith("scored at native size") for each in summaries] == [False, True]
    records = [read_run(folder).records[0] for folder in (working, native)]
    assert records[0].key != records[1].key and records[0].scores != records[1].scores
    assert records[0].png_sha256 == records[1].png_sha256, "only the score is another one"
