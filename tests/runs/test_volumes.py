"""A volume's figures in three dimensions, worked out again from the files by others."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import surface_distance
import torch
from monai.metrics import compute_hausdorff_distance

from salip_exp._runs._volumes import COLUMNS, read_volumes
from salip_exp._runs.runner import run
from salip_exp.config import Axis, DatasetConfig, MissingMasks, Resize, ResizeMode, ScoreAt, ScoreConfig, Side, Volume
from salip_exp.data.datasets import open_dataset

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]) @ np.diag([0.7, 1.1, 2.5])
"""Oblique, of voxels of three lengths, at right angles."""


def placed(linear: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, (-40, 12, 7)
    return affine


def ball(shape: tuple[int, int, int], shift: float = 0) -> np.ndarray:
    grid = np.stack(np.mgrid[tuple(map(slice, shape))]).reshape(3, -1).T
    return ((((grid - np.array(shape) / 2 - shift) / (np.array(shape) * 0.3)) ** 2).sum(1) <= 1).reshape(shape)


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def run_of(
    fakes, root: Path, name: str = "run", axis: Axis = Axis.axial, score: ScoreConfig | None = None, **changes
) -> Path:
    """A run of what is bright over the volumes below a folder."""
    volume = Volume(axis=axis, trim_mm=0, skip_empty=False, **changes.pop("volume", {}))
    told = {"name": "own", "layout": "folder", "root": str(root), "missing_masks": MissingMasks.predict}
    data = DatasetConfig(**(told | {"volume": volume, "resize": Resize(ResizeMode.native)} | changes))
    lab = fakes.FakeLab([], fakes.Threshold())
    lab.cases = open_dataset(data, seed=1)
    folder = root / name
    score = score or ScoreConfig(resamples=100)
    assert run(fakes.config(dataset=data, score=score), folder, fakes.COMMAND, lab) == 0
    return folder


def test_a_ct_lies_on_its_image_and_scores_what_others_find(fakes, tmp_path):
    """Hounsfield units, turned and of thick slices, in the axes that scanners write: left, posterior, superior."""
    shape, affine = (40, 36, 12), placed(np.diag([-1, -1, 1]) @ TURN @ np.diag([1, 0.7, 2]))
    lungs = ball(shape)
    values = np.where(lungs, 180, -60) + np.random.default_rng(1).integers(-20, 20, shape)
    values[:3] = -1000
    save(tmp_path / "images" / "ct.nii.gz", values.astype(np.int16), affine)
    save(tmp_path / "masks" / "ct.nii.gz", ball(shape, 1).astype(np.uint8), affine)
    folder = run_of(fakes, tmp_path, resize=Resize(side=32), volume={"window": "soft_tissue"})
    image, mask = tmp_path / "images" / "ct.nii.gz", folder / "masks" / "ct.nii.gz"
    assert nib.aff2axcodes(nib.load(mask).affine) == nib.aff2axcodes(nib.load(image).affine) == ("L", "P", "S")
    np.testing.assert_array_equal(nib.load(mask).affine, nib.load(image).affine)
    one, other = sitk.ReadImage(str(mask)), sitk.ReadImage(str(image))
    for name in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(one, name)() == getattr(other, name)()
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.ReadImage(str(tmp_path / "masks" / "ct.nii.gz")), one)
    (row,) = read_volumes(folder).itertuples()
    assert 0.7 < row.dsc < 1 and row.dsc == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("axis", list(Axis))
def test_figures_are_those_of_the_files(fakes, tmp_path, axis):
    """By nibabel, SimpleITK, MONAI and `surface-distance`, from what lies on disk."""
    shape, affine = (28, 24, 18), placed(TURN)
    save(tmp_path / "images" / "a" / "one.nii.gz", np.where(ball(shape), 250, 20).astype(np.int16), affine)
    save(tmp_path / "masks" / "a" / "one.nii.gz", ball(shape, 1.5).astype(np.uint8), affine)
    folder = run_of(fakes, tmp_path, axis=axis, score=ScoreConfig(at=ScoreAt.native, resamples=100))
    (row,) = read_volumes(folder).itertuples()
    found, target = (nib.load(path) for path in (folder / row.prediction, row.mask))
    np.testing.assert_array_equal(found.affine, nib.load(row.image).affine)
    mine, theirs = (np.asarray(each.dataobj) > 0 for each in (found, target))
    assert row.dsc == pytest.approx(2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()), abs=1e-9)
    voxel = np.prod(sitk.ReadImage(row.image).GetSpacing()) / 1000
    assert [row.predicted_ml, row.target_ml] == pytest.approx([mine.sum() * voxel, theirs.sum() * voxel], rel=1e-6)
    assert row.difference_ml == pytest.approx(row.predicted_ml - row.target_ml)
    distances = surface_distance.compute_surface_distances(theirs, mine, found.header.get_zooms())
    expected = surface_distance.compute_surface_dice_at_tolerance(distances, 2.0)
    assert 0.3 < expected < 0.95 and row.nsd == pytest.approx(expected, abs=0.01)
    both = (torch.from_numpy(each)[None, None].float() for each in (mine, theirs))
    spacing = [float(each) for each in found.header.get_zooms()]
    monai = compute_hausdorff_distance(*both, include_background=True, percentile=95, spacing=spacing)
    assert row.hd95 == pytest.approx(float(monai), abs=1e-4)
    assert (row.slices, row.slices_run, row.score_at) == (shape[list(Axis).index(axis)], row.slices, "native")


def test_a_volume_without_target_has_its_size_and_nothing_else(fakes, tmp_path):
    inside = ball((12, 12, 12))
    save(tmp_path / "images" / "one.nii", np.where(inside, 250, 20).astype(np.int16), placed(np.diag([1, 2, 3])))
    (row,) = read_volumes(run_of(fakes, tmp_path)).to_dict("records")
    assert row["predicted_ml"] == pytest.approx(inside.sum() * 6 / 1000)
    assert {name for name in COLUMNS if pd.isna(row[name])} == {
        *("dsc", "hd95", "nsd", "target_ml", "difference_ml", "note", "mask")
    }


def test_what_is_no_whole_volume_says_so(fakes, tmp_path):
    inside = ball((12, 12, 12))
    for name in ("images", "masks"):
        save(tmp_path / name / "one.nii", np.where(inside, 250, 0).astype(np.uint8), np.eye(4))
    (row,) = read_volumes(run_of(fakes, tmp_path, volume={"per_volume": 5})).to_dict("records")
    assert row["note"] == "5 of 12 slices have a prediction: no whole volume"
    assert pd.isna(row["dsc"]) and pd.isna(row["predicted_ml"]) and row["slices_run"] == 5


def test_a_tilted_volume_has_no_distances(fakes, tmp_path):
    inside, tilted = ball((12, 12, 12)), np.array([[1, 0, 0], [0, 1, 0.4], [0, 0, 2.0]])
    for name in ("images", "masks"):
        save(tmp_path / name / "one.nii", np.where(inside, 250, 0).astype(np.uint8), placed(tilted))
    (row,) = read_volumes(run_of(fakes, tmp_path)).to_dict("records")
    assert "no right angles" in row["note"] and pd.isna(row["hd95"]) and pd.isna(row["nsd"])
    assert row["dsc"] == 1 and row["target_ml"] == pytest.approx(inside.sum() * 2 / 1000)


def test_one_side_of_a_pair_is_compared_with_that_side(fakes, tmp_path):
    shape = (30, 20, 10)
    left = np.zeros(shape, bool)
    left[3:11, 5:15, 2:8] = True  # the first axis runs to the patient's right
    affine = placed(np.diag([-1, 1, 1]))
    save(tmp_path / "images" / "one.nii", np.where(left, 250, 20).astype(np.uint8), affine)
    save(tmp_path / "masks" / "one.nii", (left | left[::-1]).astype(np.uint8), affine)
    rows = []
    for side in (Side.left, Side.right, Side.both):
        rows += read_volumes(run_of(fakes, tmp_path, str(side), side=side)).to_dict("records")
    assert sorted(each["dsc"] for each in rows) == pytest.approx([0, 2 / 3, 1])


def test_pictures_have_no_volumes(fakes, tmp_path):
    assert fakes.run_fake(tmp_path / "run") == 0
    assert read_volumes(tmp_path / "run").empty and not (tmp_path / "run" / "volumes.csv").exists()
