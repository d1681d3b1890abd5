"""NRRD and MetaImage, written by SimpleITK, against the same volume as NIfTI."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from salip_exp.data.case import Dataset
from salip_exp.data.volumes import read_grid, read_volume
from salip_exp.errors import CaseError, EnvironmentFault

Open = Callable[..., Dataset]
VALUES = np.random.default_rng(5).integers(-1000, 1500, (6, 8, 5)).astype(np.int16)
TILTED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.7, 0.9, 2.5]), [-40, 25, 900])
ENDINGS = ["nrrd", "nhdr", "mha", "mhd"]


def written(path: Path) -> Path:
    """The volume by way of SimpleITK, which reads it from NIfTI."""
    nib.save(nib.Nifti1Image(VALUES, TILTED), path.parent / "v.nii")
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.ReadImage(str(path.parent / "v.nii")), str(path), useCompression=path.suffix != ".mhd")
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_volume_is_the_nifti_it_was_made_of(tmp_path: Path, ending: str) -> None:
    found, nifti = read_volume(written(tmp_path / f"a.{ending}")), read_volume(tmp_path / "v.nii")
    assert (found.values == nifti.values).all() and found.zooms == pytest.approx(nifti.zooms, rel=1e-5)
    assert np.abs(found.affine - nifti.affine).max() < 1e-4
    assert read_grid(tmp_path / f"a.{ending}").values.shape == nifti.values.shape


def test_it_goes_with_a_mask_of_another_format(tmp_path: Path, opened: Open) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    written(tmp_path / "images" / "a.nrrd")
    (tmp_path / "images" / "v.nii").unlink()
    nib.save(nib.Nifti1Image((VALUES > 0).astype(np.uint8), TILTED), tmp_path / "masks" / "a.nii.gz")
    case = opened("folder", tmp_path, "volume.axis=coronal").refs[2].load()
    assert case.volume == "a" and case.mask is not None and case.mask.any()


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd", "plain.mha"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"a.{ending}")
    if ending == "plain.mha":
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path), useCompression=False)
    path = path.with_suffix(".raw") if ending == "mhd" else path
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CaseError, match="cannot be read as NRRD or MetaImage"):
        read_volume(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("name", ["../v.raw", "/etc/passwd", "LIST", "a%03d.raw 1 5 1"])
def test_a_header_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.mhd")
    path.write_text(path.read_text().replace("a.raw", name))
    with pytest.raises(CaseError, match="names its voxels") as caught:
        read_volume(path)
    assert caught.value.code == "E_PATH"


def test_colours_are_no_volume(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True), str(tmp_path / "a.nrrd"))
    with pytest.raises(CaseError, match="of 3 numbers"):
        read_volume(tmp_path / "a.nrrd")


def test_without_the_extra_its_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.mha")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[itk\]'"):
        read_volume(path)
