"""A mask of a series, written as DICOM-SEG and read back by others: same voxels, same places, same patient."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from salip_exp._reports.listeners import show
from salip_exp._runs._dicom_seg import require_extra, segmentation
from salip_exp._runs.runner import run
from salip_exp.config import Axis, DatasetConfig, Files, MissingMasks, Resize, ResizeMode, Volume
from salip_exp.data._dicom import as_stored
from salip_exp.data.datasets import open_dataset
from salip_exp.errors import CaseError, EnvironmentFault

ROWS, COLUMNS, SLICES = 12, 9, 5
TURNED = [0.96, 0.28, 0.0, -0.28, 0.96, 0.0]


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """A tilted CT series, by pydicom."""
    study, number, frame = generate_uid(), generate_uid(), generate_uid()
    paths = []
    for i in range(SLICES):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, number, frame
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "p1", "Doe^Jane", "", "O"
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20260101", "120000", "1", ""
        data.ReferringPhysicianName, data.Modality, data.SeriesNumber, data.InstanceNumber = "", "CT", 3, i + 1
        data.Rows, data.Columns, data.PixelSpacing, data.SliceThickness = ROWS, COLUMNS, [0.8, 0.7], 2.5
        data.ImageOrientationPatient, data.ImagePositionPatient = TURNED, [-30.0, 12.0, 100 + 2.5 * i]
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation, data.SamplesPerPixel = 15, 0, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        pixels = np.zeros((ROWS, COLUMNS), np.uint16)
        pixels[2 : 5 + i, 1:4] = 1000
        data.PixelData = pixels.tobytes()
        paths.append(tmp_path / "images" / f"{i}.dcm")
        paths[-1].parent.mkdir(exist_ok=True)
        data.save_as(paths[-1], enforce_file_format=True)
    return paths


def test_it_is_read_back_where_its_series_lies(series: list[Path]) -> None:
    whole = np.zeros((COLUMNS, ROWS, SLICES), bool)
    whole[2:6, 3:9, 1:4] = True
    whole[7, 0, 2] = True
    content = segmentation(series, whole, "liver")
    found = highdicom.seg.segread(io.BytesIO(content))
    numbers = [pydicom.dcmread(path).SOPInstanceUID for path in series]
    read = found.get_pixels_by_source_instance(
        numbers, combine_segments=True, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(read.transpose(2, 1, 0), whole)
    plain = pydicom.dcmread(io.BytesIO(content))
    assert (plain.Modality, plain.PatientID, plain.SegmentSequence[0].SegmentLabel) == ("SEG", "p1", "liver")
    assert plain.FrameOfReferenceUID == pydicom.dcmread(series[0]).FrameOfReferenceUID
    frames = plain.PerFrameFunctionalGroupsSequence
    places = [list(map(float, each.PlanePositionSequence[0].ImagePositionPatient)) for each in frames]
    assert sorted(places) == [[-30.0, 12.0, 100 + 2.5 * i] for i in (1, 2, 3)]
    shared = plain.SharedFunctionalGroupsSequence[0]
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == TURNED
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.8, 0.7]


@pytest.mark.parametrize("said", [None, "1", "2.5"])
def test_it_is_a_volume_for_others_whatever_its_series_says_of_spacing(series: list[Path], said: str | None) -> None:
    """SimpleITK writes a spacing of 1 between slices into every series, wherever they lie."""
    for path in series:
        data = pydicom.dcmread(path)
        data.SpacingBetweenSlices = said
        data.save_as(path, enforce_file_format=True)
    whole = np.zeros((COLUMNS, ROWS, SLICES), bool)
    whole[2:6, 3:9, 1], whole[3:5, 4, 3] = True, True
    found = highdicom.seg.segread(io.BytesIO(segmentation(series, whole, "liver")))
    volume = found.get_volume(combine_segments=True, allow_missing_positions=True)
    assert volume.spacing_between_slices == pytest.approx(2.5)
    places = volume.map_indices_to_reference(np.argwhere(volume.array > 0))
    columns, rows, slices = np.nonzero(whole)
    along, down = np.array(TURNED[:3]) * 0.7, np.array(TURNED[3:]) * 0.8
    meant = [[-30, 12, 100 + 2.5 * z] + x * along + y * down for x, y, z in zip(columns, rows, slices, strict=True)]
    np.testing.assert_allclose(sorted(map(tuple, np.round(places, 6))), sorted(map(tuple, np.round(meant, 6))))


def test_an_empty_mask_is_a_segmentation_too(series: list[Path]) -> None:
    content = segmentation(series, np.zeros((COLUMNS, ROWS, SLICES), bool), "liver")
    assert not pydicom.dcmread(io.BytesIO(content)).pixel_array.any()


def test_the_same_mask_has_the_same_names(series: list[Path]) -> None:
    whole = np.ones((COLUMNS, ROWS, SLICES), bool)
    one, other = (pydicom.dcmread(io.BytesIO(segmentation(series, whole, "liver"))) for _ in range(2))
    assert (one.SOPInstanceUID, one.SeriesInstanceUID) == (other.SOPInstanceUID, other.SeriesInstanceUID)
    assert one.SOPInstanceUID != one.SeriesInstanceUID != pydicom.dcmread(series[0]).SeriesInstanceUID


def test_where_the_extra_is_absent_it_is_named(series: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[seg\]'"):
        segmentation(series, np.ones((COLUMNS, ROWS, SLICES), bool), "liver")
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[seg\]'"):
        require_extra()


def run_over(fakes: Any, root: Path) -> None:
    """A run over the series below a folder, in `run` there, that wants segmentations."""
    data = DatasetConfig(
        name="own", layout="folder", root=str(root), missing_masks=MissingMasks.predict, roi="liver",
        resize=Resize(ResizeMode.native), volume=Volume(axis=Axis.axial, trim_mm=0), files=Files(dicom_seg=True),
    )  # fmt: skip
    lab = fakes.FakeLab([], fakes.Threshold())
    lab.cases = open_dataset(data, seed=1)
    assert run(fakes.config(dataset=data), root / "run", fakes.COMMAND, lab) == 0


def test_a_run_writes_one_beside_the_nifti(fakes, series: list[Path], tmp_path: Path) -> None:
    """What is bright in the slices is predicted, and lies in both files where the series has it."""
    run_over(fakes, tmp_path)
    (written,) = (tmp_path / "run" / "masks").rglob("*.dcm")
    whole = np.asarray(nib.load(written.with_name(f"{written.stem}.nii.gz")).dataobj) > 0
    slices = [pydicom.dcmread(path) for path in series]
    np.testing.assert_array_equal(whole.transpose(2, 1, 0), [each.pixel_array > 0 for each in slices])
    found = highdicom.seg.segread(written).get_pixels_by_source_instance(
        [each.SOPInstanceUID for each in slices], combine_segments=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(found.transpose(2, 1, 0) > 0, whole)


def test_that_of_a_file_of_frames_lies_on_them(module_at: Any, tmp_path: Path) -> None:
    frames = module_at(Path(__file__).parents[1] / "data" / "test_frames.py")
    path, whole = frames.enhanced(tmp_path / "e.dcm", frames.TILTED, [3, 0, 4, 1, 2]), frames.VALUES > 500
    (tmp_path / "s.dcm").write_bytes(segmentation([path], as_stored(path, whole), "liver"))
    found = highdicom.seg.segread(tmp_path / "s.dcm").get_volume(combine_segments=True)
    image = highdicom.imread(path).get_volume(apply_real_world_transform=False)
    assert found.geometry_equal(image) and ((found.array != 0) == (image.array > 500)).all()


@pytest.mark.parametrize("gone", ["PatientBirthDate", "FrameOfReferenceUID", "StudyInstanceUID", "SliceThickness"])
def test_a_series_that_lacks_names_and_numbers_has_a_segmentation_all_the_same(series: list[Path], gone: str) -> None:
    for path in series:
        data = pydicom.dcmread(path)
        delattr(data, gone)
        data.save_as(path)
    whole = np.zeros((COLUMNS, ROWS, SLICES), bool)
    whole[2:5, 3:6, 1:3] = True
    found = highdicom.seg.segread(io.BytesIO(segmentation(series, whole, "liver"))).get_volume(combine_segments=True)
    assert (found.array != 0).sum() == whole.sum()


def test_a_series_that_a_segmentation_cannot_refer_to_is_named(series: list[Path]) -> None:
    for path in series:
        data = pydicom.dcmread(path)
        data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        del data.ImagePositionPatient
        data.save_as(path)
    with pytest.raises(CaseError, match="lacks what a DICOM-SEG refers to"):
        segmentation(series, np.zeros((COLUMNS, ROWS, SLICES), bool), "liver")


EMPTIED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def test_numbers_that_were_emptied_are_taken_from_before_the_data(series: list[Path]) -> None:
    """As TotalSegmentator's example is: the file's own header still names what its data do not."""
    numbers = [pydicom.dcmread(path).SOPInstanceUID for path in series]
    _emptied(series, *EMPTIED)
    plain = pydicom.dcmread(io.BytesIO(segmentation(series, np.ones((COLUMNS, ROWS, SLICES), bool), "liver")))
    (referred,) = plain.ReferencedSeriesSequence
    assert [each.ReferencedSOPInstanceUID for each in referred.ReferencedInstanceSequence] == numbers
    assert plain.StudyInstanceUID and referred.SeriesInstanceUID not in ("", plain.StudyInstanceUID)


def test_a_run_tells_of_a_segmentation_that_cannot_be(
    fakes, series: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _emptied(series, *EMPTIED, "FrameOfReferenceUID")
    run_over(fakes, tmp_path)
    assert not list((tmp_path / "run").rglob("*.dcm")) and list((tmp_path / "run" / "masks").rglob("*.nii.gz"))
    show(tmp_path / "run", "outputs", fakes.COMMAND)
    assert "no DICOM-SEG of" in capsys.readouterr().out


def _emptied(series: list[Path], *names: str) -> None:
    for path in series:
        data = pydicom.dcmread(path)
        for name in names:
            setattr(data, name, "")
        data.save_as(path, enforce_file_format=False)
