"""Frames of one DICOM file against the same volume as NIfTI; written by pydicom alone, read once more by highdicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset as Tags
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from salip_exp.config import Volume
from salip_exp.data.case import Dataset
from salip_exp.data.volumes import read_grid, read_volume, read_windowed
from salip_exp.errors import CaseError

Open = Callable[..., Dataset]
VALUES = np.random.default_rng(6).integers(-1000, 1500, (6, 8, 5)).astype(np.int16)
TILTED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.7, 0.9, 2.5]), [-40, 25, 900])
SLOPES = np.array([1.0, 0.5, 2.0, 1.0, 0.25])


def group(**groups: dict[str, Any]) -> Tags:
    """One item of functional groups, by the names of their sequences."""
    found = Tags()
    for name, tags in groups.items():
        inner = Tags()
        for key, value in tags.items():
            setattr(inner, key, value)
        setattr(found, name, Items([inner]))
    return found


def numbers(values: Sequence[float]) -> list[str]:
    return [f"{each:.9g}" for each in values]


def enhanced(path: Path, affine: NDArray[np.float64], order: Sequence[int], own_turn: bool = False, **top: Any) -> Path:
    """VALUES as frames in an order; every frame has a slope of its own, and groups are shared where they can be."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    size = np.linalg.norm(lps[:3, :3], axis=0)
    turn = {"ImageOrientationPatient": numbers([*(lps[:3, 0] / size[0]), *(lps[:3, 1] / size[1])])}
    measures = {"PixelSpacing": numbers([size[1], size[0]]), "SliceThickness": "2.5", "SpacingBetweenSlices": "2.5"}
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = EnhancedMRImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.1", "1.2.2", "1.2.3"
    data.Modality, data.PatientName, data.PatientID = "MR", "Doe^Jane", "4711"
    data.Rows, data.Columns, data.NumberOfFrames = VALUES.shape[1], VALUES.shape[0], len(order)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.SharedFunctionalGroupsSequence = Items(
        [group(PixelMeasuresSequence=measures, **({} if own_turn else {"PlaneOrientationSequence": turn}))]
    )
    data.PerFrameFunctionalGroupsSequence = Items(
        [
            group(
                PlanePositionSequence={"ImagePositionPatient": numbers((lps @ [0, 0, k, 1])[:3])},
                PixelValueTransformationSequence={
                    "RescaleSlope": str(SLOPES[k]),
                    "RescaleIntercept": "-1024",
                    "RescaleType": "US",
                },
                FrameVOILUTSequence={"WindowCenter": "40", "WindowWidth": "400"},
                FrameContentSequence={"InStackPositionNumber": k + 1, "StackID": "1"},
                **({"PlaneOrientationSequence": turn} if own_turn else {}),
            )
            for k in order
        ]
    )
    for name, value in top.items():
        setattr(data, name, value)
    stored = [(VALUES[:, :, k].T.astype(np.float64) + 1024) / SLOPES[k] for k in order]
    data.PixelData = np.stack(stored).astype(np.uint16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def kept(k: int) -> NDArray[np.float64]:
    """A slice of VALUES as far as whole numbers of its slope can tell it."""
    return np.floor((VALUES[:, :, k] + 1024) / SLOPES[k]) * SLOPES[k] - 1024


@pytest.mark.parametrize("own_turn", [False, True])
@pytest.mark.parametrize("affine", [np.diag([0.7, 0.9, 2.5, 1]), np.diag([-0.7, -0.9, -2.5, 1]), TILTED])
def test_frames_are_the_nifti_of_the_same_volume(tmp_path: Path, affine: NDArray[np.float64], own_turn: bool) -> None:
    path = enhanced(tmp_path / "e.dcm", affine, [3, 0, 4, 1, 2], own_turn)
    nib.save(nib.Nifti1Image(np.stack([kept(k) for k in range(5)], 2), affine), tmp_path / "v.nii")
    found, nifti = read_volume(path), read_volume(tmp_path / "v.nii")
    assert (found.values == nifti.values).all() and np.abs(found.affine - nifti.affine).max() < 1e-4
    assert found.zooms == pytest.approx(nifti.zooms, rel=1e-6)
    assert np.abs(read_grid(path).affine - nifti.affine).max() < 1e-4
    low, high = 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2
    shown = np.round(np.clip((nifti.values - low) / (high - low), 0, 1) * 255)
    assert (read_windowed(path, Volume(window="header")).values == shown).all()


def test_highdicom_reads_the_same(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "e.dcm", TILTED, [3, 0, 4, 1, 2])
    image = highdicom.imread(path)
    with closing(image._db_con):  # which it leaves open, as Python 3.13 says
        theirs = image.get_volume(apply_real_world_transform=False, apply_modality_transform=True)
    lps = nib.Nifti1Image(theirs.array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ theirs.affine)
    canonical, found = nib.as_closest_canonical(lps), read_volume(path)
    assert np.abs(canonical.get_fdata() - found.values).max() < 1e-9
    assert np.abs(canonical.affine - found.affine).max() < 1e-4


def test_a_single_enhanced_frame_is_a_picture_of_its_own_rescaling_window_and_size(
    tmp_path: Path, opened: Open
) -> None:
    enhanced(tmp_path / "images" / "a.dcm", np.diag([0.7, 0.9, 2.5, 1]), [4])
    case = opened("folder", tmp_path, "resize.mode=native").refs[0].load()
    low, high = 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2
    assert (case.image[..., 0] == np.round(np.clip((kept(4).T - low) / (high - low), 0, 1) * 255)).all()
    assert case.spacing == pytest.approx((0.9, 0.7))


def test_files_of_one_enhanced_frame_each_are_a_series(tmp_path: Path) -> None:
    paths = [enhanced(tmp_path / f"{k}.dcm", TILTED, [k]) for k in range(5)]
    assert (
        read_volume(paths[2]).values == read_volume(enhanced(tmp_path / "e" / "e.dcm", TILTED, range(5))).values
    ).all()


def test_a_folder_of_such_files_has_a_volume_each_with_the_mask_of_its_name(tmp_path: Path, opened: Open) -> None:
    for name in ("p1", "p2"):
        enhanced(tmp_path / "images" / f"{name}.dcm", TILTED, range(5), SeriesInstanceUID="1.9")
        (tmp_path / "masks").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image((VALUES > 0).astype(np.uint8), TILTED), tmp_path / "masks" / f"{name}.nii.gz")
    refs = opened("folder", tmp_path, "volume.axis=axial", "resize.mode=native").refs
    assert [ref.case_id for ref in refs] == [f"{name}/axial_{n:03d}" for name in ("p1", "p2") for n in range(5)]
    case = refs[2].load()
    assert case.mask is not None and case.mask.any() and case.spacing == pytest.approx((0.9, 0.7), rel=1e-6)


def turned(data: Any) -> None:
    data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence = Items([])
    for number, each in enumerate(data.PerFrameFunctionalGroupsSequence):
        directions = ["1", "0", "0", "0", "1", "0"] if number else ["0", "1", "0", "0", "0", "1"]
        each.PlaneOrientationSequence = group(P={"ImageOrientationPatient": directions}).P


def changed(data: Any, kind: str) -> None:
    frames = data.PerFrameFunctionalGroupsSequence
    if kind == "missing":
        data.PerFrameFunctionalGroupsSequence = Items([*frames[:2], *frames[3:]])
        data.NumberOfFrames = 4
        data.PixelData = data.PixelData[: 4 * 2 * data.Rows * data.Columns]
    elif kind == "phases":
        frames[1].PlanePositionSequence = frames[0].PlanePositionSequence
    elif kind == "aside":
        place = frames[2].PlanePositionSequence[0].ImagePositionPatient
        frames[2].PlanePositionSequence[0].ImagePositionPatient = [place[0] + 3, *place[1:]]
    elif kind == "turned":
        turned(data)
    elif kind == "placeless":
        for each in frames:
            del each.PlanePositionSequence
    elif kind == "groups":
        data.PerFrameFunctionalGroupsSequence = Items(frames[:3])
    elif kind == "many":
        data.NumberOfFrames = 70_000
    elif kind == "concatenated":
        data.ConcatenationUID = "1.2.9"
    else:
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.PixelData = data.PixelData[: 5 * 3 * data.Rows * data.Columns // 2 * 2] + b"\0" * 720


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("missing", "E_AFFINE", r"2\.5 to 5 mm apart"),
        ("phases", "E_DIMS", r"several slices at one place"),
        ("aside", "E_AFFINE", "beside one line"),
        ("turned", "E_AFFINE", "turned or sized differently"),
        ("placeless", "E_AFFINE", "do not say where they lie"),
        ("groups", "E_READ", "5 frames and groups for 3"),
        ("many", "E_SIZE", "70,000 frames"),
        ("concatenated", "E_FORMAT", "a concatenation"),
        ("colours", "E_DIMS", "give grey slices"),
    ],
)
def test_frames_that_are_no_volume_are_refused_by_name(tmp_path: Path, kind: str, code: str, said: str) -> None:
    import pydicom

    path = enhanced(tmp_path / "e.dcm", np.diag([0.7, 0.9, 2.5, 1]), range(5))
    data = pydicom.dcmread(path)
    changed(data, kind)
    data.save_as(path)
    with pytest.raises(CaseError, match=said) as caught:
        read_volume(path)
    assert caught.value.code == code


def test_frames_of_a_secondary_capture_are_a_volume_where_they_say_where_they_lie(tmp_path: Path) -> None:
    other = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3", "Modality": "OT"}
    path = enhanced(tmp_path / "e.dcm", TILTED, range(5), **other)
    assert (read_volume(path).values == read_volume(enhanced(tmp_path / "f" / "f.dcm", TILTED, range(5))).values).all()
