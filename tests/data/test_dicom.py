"""DICOM against the same volume as NIfTI, written here by pydicom from nothing but the standard's formulas."""

from __future__ import annotations

import shlex
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from salip_exp.config import DatasetConfig, Volume
from salip_exp.data import _dicom as dicom
from salip_exp.data.case import Dataset
from salip_exp.data.loading import slice_refs
from salip_exp.data.volumes import read_grid, read_header, read_target, read_volume, read_windowed
from salip_exp.errors import CaseError, DataError, EnvironmentFault

Open = Callable[..., Dataset]
Save = Callable[..., Path]
VALUES = np.random.default_rng(5).integers(-1000, 1500, (6, 8, 5)).astype(np.int16)
TILTED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.7, 0.9, 2.5]), [-40, 25, 900])


def write(path: Path, pixels: NDArray[Any], **tags: object) -> Path:
    """One CT file of stored numbers (rows, columns)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID, data.SeriesInstanceUID = "Doe^Jane", "4711", "1.2.3"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = pixels.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path, values: NDArray[np.int16], affine: NDArray[np.float64], names: Sequence[str] = ()
) -> list[Path]:
    """A volume of a RAS affine as files in a mixed order; stored = 2 (value + 1024), which slope and intercept undo."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    size = np.linalg.norm(lps[:3, :3], axis=0)
    order = np.random.default_rng(1).permutation(values.shape[2])
    return [
        write(
            folder / (names[at] if names else f"IM{at:04d}.dcm"),
            ((values[:, :, k] + 1024) * 2).T.astype(np.uint16),
            ImagePositionPatient=[f"{each:.9g}" for each in (lps @ [0, 0, k, 1])[:3]],
            ImageOrientationPatient=[f"{each:.9g}" for each in (*(lps[:3, 0] / size[0]), *(lps[:3, 1] / size[1]))],
            PixelSpacing=[f"{size[1]:.9g}", f"{size[0]:.9g}"],
            RescaleSlope="0.5",
            RescaleIntercept="-1024",
            WindowCenter=["40", "400"],
            WindowWidth=["400", "1800"],
        )
        for at, k in enumerate(order)
    ]


@pytest.mark.parametrize("affine", [np.diag([0.7, 0.9, 2.5, 1]), np.diag([-0.7, -0.9, -2.5, 1]), TILTED])
def test_a_series_is_the_nifti_of_the_same_volume(tmp_path: Path, affine: NDArray[np.float64]) -> None:
    files = series(tmp_path / "s", VALUES, affine)
    nib.save(nib.Nifti1Image(VALUES, affine), tmp_path / "v.nii")
    nifti = read_volume(tmp_path / "v.nii")
    for path in files:  # any file stands for the volume
        found = read_volume(path)
        assert (found.values == nifti.values).all()
        assert found.zooms == pytest.approx(nifti.zooms, rel=1e-6)
        assert np.abs(found.affine - nifti.affine).max() < 1e-4
    assert read_grid(files[0]).values.shape == nifti.values.shape
    header, grid = read_header(files[0]), read_grid(files[0])
    assert header.get_data_shape() == VALUES.shape and np.abs(header.get_best_affine() - grid.file_affine).max() < 1e-4
    chosen = Volume(window=[-160, 240])
    assert (read_windowed(files[0], chosen).values == read_windowed(tmp_path / "v.nii", chosen).values).all()


def test_the_window_of_the_header_is_that_of_the_standard(tmp_path: Path) -> None:
    (first, *_) = series(tmp_path / "s", VALUES, TILTED)
    low, high = 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2  # PS3.3, C.11.2.1.2: y = ((x - (c - 0.5)) / (w - 1) + 0.5) 255
    wanted = np.round(np.clip((read_volume(first).values - low) / (high - low), 0, 1) * 255)
    assert (read_windowed(first, Volume(window="header")).values == wanted).all()


def test_a_case_of_a_series_has_the_mask_that_lies_on_it_and_nobodys_name(tmp_path: Path, opened: Open) -> None:
    series(tmp_path / "images" / "p1" / "CT", VALUES, TILTED)
    series(tmp_path / "images" / "p2", VALUES, TILTED, [f"1.2.840.{n}" for n in range(5)])
    (tmp_path / "masks" / "p1").mkdir(parents=True)
    for name in ("p1/CT", "p2"):
        nib.save(nib.Nifti1Image((VALUES > 0).astype(np.uint8), TILTED), tmp_path / "masks" / f"{name}.nii.gz")
    keys = ("volume.axis=axial", "resize.mode=native", "volume.window=soft_tissue")
    dataset = opened("folder", tmp_path, *keys)
    assert [ref.case_id for ref in dataset.refs] == [
        f"{name}/axial_{n:03d}" for name in ("p1/CT", "p2") for n in range(5)
    ]
    assert dataset.beside == []
    for ref in dataset.refs:
        case = ref.load()
        assert case.mask is not None and case.image[case.mask].min() >= 102 > case.image[~case.mask].max() - 1
        assert case.spacing == pytest.approx((0.9, 0.7), rel=1e-6)
        assert "Doe" not in repr(ref) + repr(case.notes) and "4711" not in repr(ref) + repr(case.source)
    by_pattern = opened("folder", tmp_path, *keys, "files.images='images/{id}/**/*'", "files.masks='masks/{id}*/**/*'")
    assert {ref.volume for ref in by_pattern.refs} == {"p1", "p2"}


def test_two_series_of_a_folder_are_two_volumes(tmp_path: Path, opened: Open) -> None:
    files = series(tmp_path / "images", VALUES, TILTED)
    for number, path in enumerate(files):
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID = "9.9"
        data.save_as(tmp_path / "images" / f"second_{number}.dcm")
    volumes = {str(ref.volume) for ref in opened("folder", tmp_path).refs}
    assert len(volumes) == 2 and all(name.startswith("series-") for name in volumes)


def test_what_holds_no_picture_beside_a_series_is_told(tmp_path: Path, opened: Open) -> None:
    series(tmp_path / "images" / "p", VALUES, TILTED)
    (tmp_path / "images" / "p" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    dataset = opened("folder", tmp_path)
    assert {ref.volume for ref in dataset.refs} == {"p"} and len(dataset.refs) == 6
    assert [each.said.partition(":")[0] for each in dataset.beside[:1]] == [
        "1 DICOM file is not read (images/p/DICOMDIR)"
    ]


def test_a_tree_of_series_is_proposed_by_its_folders(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "labels").mkdir()
    for number, name in enumerate(("p1", "p2")):
        series(tmp_path / "scans" / name, VALUES, TILTED, [f"IM{number}{n}" for n in range(5)])
        nib.save(nib.Nifti1Image((VALUES > 0).astype(np.uint8), TILTED), tmp_path / "labels" / f"{name}_liver.nii.gz")
    with pytest.raises(
        DataError, match=r"images='scans/\{id\}/\*' .*masks='labels/\{id\}_liver\.nii\.gz' pairs 2"
    ) as caught:
        opened("folder", tmp_path)
    keys = [each.removeprefix("dataset.") for each in shlex.split(str(caught.value).rpartition(": ")[2])[:2]]
    assert {ref.volume for ref in opened("folder", tmp_path, *keys).refs} == {"p1", "p2"}


def damage(files: list[Path], kind: str) -> None:
    if kind == "missing":
        files.sort(key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
        files[2].unlink()
    elif kind == "doubled":
        files[0].with_name("copy.dcm").write_bytes(files[0].read_bytes())
    elif kind == "cut":
        files[0].write_bytes(files[0].read_bytes()[:-20])
    else:
        files[0].write_bytes(b"\0" * 128 + b"DICM")


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("missing", "E_AFFINE", r"2\.5 to 5 mm apart"),
        ("doubled", "E_DIMS", "at one place"),
        ("cut", "E_READ", "cannot be read as DICOM"),
        ("empty", "E_READ", "without a picture"),
    ],
)
def test_a_series_that_is_not_whole_is_refused(tmp_path: Path, kind: str, code: str, said: str) -> None:
    files = series(tmp_path / "s", VALUES, np.diag([1, 1, 2.5, 1]))
    damage(files, kind)
    with pytest.raises(CaseError, match=said) as caught:
        read_volume(files[0] if files[0].exists() else files[1])
    assert caught.value.code == code


@pytest.mark.parametrize(("kind", "said"), [(RLELossless, "RLE Lossless"), (JPEG2000Lossless, "JPEG 2000")])
def test_pixels_that_cannot_be_unpacked_are_named_with_both_reasons(tmp_path: Path, kind: UID, said: str) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((8, 8), np.uint16))
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate([b"\xff" * 32])  # of no such stream
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = kind
    data.save_as(path)
    with pytest.raises(
        CaseError, match=rf"{said}.* cannot be unpacked .*: it is damaged, or wants a decoder"
    ) as caught:
        dicom.read_single(path, Volume())
    assert caught.value.code == "E_FORMAT"


def test_an_x_ray_is_a_picture_of_its_headers_polarity_and_window(tmp_path: Path, opened: Open) -> None:
    stored = np.arange(0, 4096, 4, dtype=np.uint16).reshape(32, 32)
    tags = {"WindowCenter": "2048", "WindowWidth": "4096", "ImagerPixelSpacing": ["0.2", "0.2"]}
    write(tmp_path / "images" / "a.dcm", stored, **tags)
    write(tmp_path / "images" / "b.dcm", stored, PhotometricInterpretation="MONOCHROME1", **tags)
    write(tmp_path / "images" / "c.dcm", stored)
    plain, inverted, whole = (ref.load() for ref in opened("folder", tmp_path, "resize.mode=native").refs)
    low, high = 2048 - 0.5 - 4095 / 2, 2048 - 0.5 + 4095 / 2
    wanted = np.round(np.clip((stored - low) / (high - low), 0, 1) * 255)
    assert (plain.image[..., 0] == wanted).all() and (inverted.image[..., 1] == 255 - wanted).all()
    assert plain.spacing == (0.2, 0.2) and "pixel size is that at the detector" in plain.notes
    assert (whole.image.min(), whole.image.max(), whole.spacing) == (0, 255, None)


def test_colours_are_kept_and_several_pictures_refused(tmp_path: Path, opened: Open) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
    write(tmp_path / "images" / "a.dcm", colours, **tags)
    write(tmp_path / "images" / "b.dcm", np.zeros((4, 5, 6), np.uint16), NumberOfFrames=4, Rows=5, Columns=6)
    one, several = opened("folder", tmp_path, "resize.mode=native").refs
    assert (one.load().image == colours).all()
    with pytest.raises(CaseError, match="its 4 frames do not say where they lie"):
        several.load()


def test_without_the_extra_its_command_is_named(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, config: Callable[..., DatasetConfig]
) -> None:
    (first, *_) = series(tmp_path / "images", VALUES, TILTED)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    dicom._heads.cache_clear()
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[dicom\]'"):
        slice_refs("v", "g", first, None, config("folder"))


def test_a_mask_of_another_grid_is_refused(tmp_path: Path, config: Callable[..., DatasetConfig]) -> None:
    (first, *_) = series(tmp_path / "s", VALUES, TILTED)
    shifted = TILTED.copy()
    shifted[:3, 3] += 3
    nib.save(nib.Nifti1Image((VALUES > 0).astype(np.uint8), shifted), tmp_path / "m.nii.gz")
    with pytest.raises(CaseError, match="lie differently in space"):
        slice_refs("v", "g", first, tmp_path / "m.nii.gz", config("folder"))[0].load()
    with pytest.raises(CaseError, match="shape and kind"):
        read_target(tmp_path / "m.nii.gz", None, first)


@pytest.mark.fault("B5")
def test_a_file_that_unpacks_to_a_gigabyte_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((8, 8), np.uint16))
    whole, start = path.read_bytes(), path.read_bytes().index(b"1.2.840.10008.1.2.1\0")
    meta = whole[:start] + b"1.2.840.10008.1.2.1.99" + whole[start + 20 : start + 20]
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = b"".join(squeeze.compress(bytes(1 << 24)) for _ in range(64)) + squeeze.flush()
    path.write_bytes(meta + packed)
    dicom._heads.cache_clear()
    tracemalloc.start()
    try:
        with pytest.raises(CaseError, match="is deflated DICOM") as caught:
            dicom.read_single(path, Volume())
        assert caught.value.code == "E_FORMAT" and tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_file_that_was_written_over_is_read_where_it_lies_now(tmp_path: Path) -> None:
    files = series(tmp_path / "s", VALUES, np.diag([1, 1, 2.5, 1]))
    before = read_volume(files[0])
    for path in files:
        data = pydicom.dcmread(path)
        data.ImagePositionPatient[2] = float(data.ImagePositionPatient[2]) + 100
        data.save_as(path)
    assert np.allclose(read_volume(files[0]).affine[:3, 3] - before.affine[:3, 3], [0, 0, 100])


def study(folder: Path) -> None:
    """A localizer of two slices, and a series of five, of which a report is a part."""
    series(folder, VALUES[:, :, :2], TILTED, ["L0", "L1"])
    for path in sorted(folder.iterdir()):
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID, data.SeriesNumber = "9.9", 1
        data.save_as(path.with_name(f"{path.name}.dcm"))
        path.unlink()
    for path in series(folder, VALUES, TILTED):
        data = pydicom.dcmread(path)
        data.SeriesNumber = 4
        data.save_as(path)


@pytest.mark.parametrize(("chosen", "slices"), [("4", 5), ("most", 5), ("1", 2)])
def test_one_series_of_each_folder_is_chosen_by_number_or_by_slices(
    tmp_path: Path, opened: Open, chosen: str, slices: int
) -> None:
    for name in ("p1", "p2"):
        study(tmp_path / "scans" / name)
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask = (VALUES[:, :, :slices] > 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask, TILTED), tmp_path / "masks" / f"{name}.nii.gz")
    keys = ("files.images='scans/{id}/*'", "files.masks='masks/{id}.nii.gz'", "volume.axis=axial")
    with pytest.raises(DataError, match=r"p1 holds the DICOM series 4 \(5 slices\), 1 \(2 slices\)") as caught:
        opened("folder", tmp_path, *keys)
    assert "dataset.files.series=most" in str(caught.value)
    dataset = opened("folder", tmp_path, *keys, f"files.series={chosen}")
    assert [ref.volume for ref in dataset.refs] == ["p1"] * slices + ["p2"] * slices
    assert all(ref.load().mask is not None for ref in dataset.refs)
    assert [each.said for each in dataset.beside] == [
        f"2 DICOM series are left out ({', '.join(dataset.beside[0].names)}): dataset.files.series={chosen}"
    ]
    by_globs = opened("folder", tmp_path, "files.images=scans/**/*", f"files.series={chosen}", "volume.axis=axial")
    assert {str(ref.volume) for ref in by_globs.refs} == {"p1", "p2"}


def test_a_number_that_no_series_has_leaves_none_and_tells_so(tmp_path: Path, opened: Open) -> None:
    study(tmp_path / "images" / "p")
    with pytest.raises(DataError, match=r"2 DICOM series are left out .*: dataset\.files\.series=7"):
        opened("folder", tmp_path, "files.series=7", "files.masks=null")


def test_an_image_of_a_table_may_be_a_folder_with_one_series(tmp_path: Path, opened: Open) -> None:
    series(tmp_path / "d" / "p1", VALUES, TILTED)
    nib.save(nib.Nifti1Image((VALUES > 0).astype(np.uint8), TILTED), tmp_path / "d" / "m.nii.gz")
    (tmp_path / "t.csv").write_text("image,mask,subject\np1,m.nii.gz,s1\n")
    keys = (f"files.table={tmp_path / 't.csv'}", "volume.axis=axial")
    dataset = opened("folder", tmp_path / "d", *keys)
    assert [ref.case_id for ref in dataset.refs] == [f"p1/axial_{n:03d}" for n in range(5)] and dataset.beside == []
    assert all(ref.load().mask is not None and ref.subject == "s1" for ref in dataset.refs)
    study(tmp_path / "d" / "p1")
    with pytest.raises(DataError, match=r"line 2: .*p1 holds the DICOM series .*: name a file of one"):
        opened("folder", tmp_path / "d", *keys)
    (tmp_path / "t.csv").write_text("image\n.\n")
    with pytest.raises(DataError, match="holds no DICOM series: name an image"):
        opened("folder", tmp_path / "d", *keys)
