"""NRRD and MetaImage, written by SimpleITK, against the same volume as NIfTI."""

from __future__ import annotations

import bz2
import gzip
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salip_exp.data import _itk as itk
from salip_exp.data.case import Dataset
from salip_exp.data.volumes import read_grid, read_volume
from salip_exp.errors import CaseError, EnvironmentFault

Open = Callable[..., Dataset]
VALUES = np.random.default_rng(5).integers(-1000, 1500, (6, 8, 5)).astype(np.int16)
TILTED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.7, 0.9, 2.5]), [-40, 25, 900])
sitk.ProcessObject.GlobalWarningDisplayOff()
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
    with pytest.raises(CaseError, match="give one 3-D volume of plain numbers"):
        read_volume(tmp_path / "a.nrrd")


def test_without_the_extra_its_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.nrrd")
    monkeypatch.setitem(sys.modules, "nrrd", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[nrrd\]'"):
        read_volume(path)
    assert read_volume(written(tmp_path / "a.mha")).values.shape == VALUES.shape, "MetaImage needs none"


KINDS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_numbers_of_every_kind_are_those_that_simple_itk_wrote(tmp_path: Path, kind: type, packed: bool) -> None:
    image = sitk.GetImageFromArray((VALUES % 100).astype(kind))
    for ending in ENDINGS:
        sitk.WriteImage(image, str(tmp_path / f"a.{ending}"), useCompression=packed)
        found = itk.read(tmp_path / f"a.{ending}")
        assert found.values.dtype == kind and (sitk.GetArrayFromImage(image) == found.values.T).all(), ending


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_flat_image_is_a_volume_of_one_slice(tmp_path: Path, ending: str) -> None:
    image = sitk.GetImageFromArray(VALUES[:, :, 0])
    image.SetSpacing([0.5, 0.25])
    sitk.WriteImage(image, str(tmp_path / f"a.{ending}"))
    found = read_volume(tmp_path / f"a.{ending}")
    assert found.values.shape == (8, 6, 1) and found.zooms == pytest.approx((0.5, 0.25, 1))


HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
DimSize = 2 2 2
ElementSpacing = 1 2 3
ElementType = MET_UCHAR
ElementDataFile = LOCAL
"""
NRRD_HEADER = """NRRD0004
type: uint8
dimension: 3
sizes: 2 2 2
encoding: raw
space: left-posterior-superior
space directions: (1,0,0) (0,2,0) (0,0,3)
space origin: (0,0,0)

"""


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("MET_UCHAR", "MET_LONG", "E_DIMS", "holds MET_LONG"),
        ("MET_UCHAR", "MET_USHORT", "E_READ", "cut short: 8 of 16"),
        ("DimSize = 2 2 2", "DimSize = 2 2 1", "E_DIMS", "holds more than"),
        ("DimSize = 2 2 2", "DimSize = 2 2 0", "E_DIMS", "2 x 2 x 0"),
        ("DimSize = 2 2 2", "DimSize = 2 2", "E_DIMS", "give one 3-D volume"),
        ("DimSize = 2 2 2", "DimSize = 2 2 900000000", "E_SIZE", "the limit is"),
        ("BinaryData = True", "BinaryData = False", "E_FORMAT", "holds text"),
        ("BinaryData = True", "BinaryData = True\nElementToIntensityFunctionSlope = 2", "E_FORMAT", "to be rescaled"),
        ("BinaryData = True", "BinaryData = True\nElementNumberOfChannels = 3", "E_DIMS", "2 x 2 x 2 x 3"),
        ("BinaryData = True", "BinaryData = True\nDistanceUnits = li", "E_AFFINE", "has the unit li"),
        ("BinaryData = True", "BinaryData = True\nHeaderSize = -7", "E_READ", "HeaderSize is -7"),
        ("BinaryData = True", "BinaryData = yes", "E_READ", "BinaryData: neither True nor False"),
        ("BinaryData = True", "BinaryData = True\nElementByteOrderMSB = True\nBinaryDataByteOrderMSB = False", "E_READ",
         "BinaryDataByteOrderMSB and ElementByteOrderMSB"),
        ("NDims = 3", "NDims", "E_READ", "no new key with a value"),
        ("ElementSpacing = 1 2 3", "ElementSpacing = 1 2", "E_READ", "3 numbers are wanted"),
        ("ElementDataFile = LOCAL\n", "", "E_READ", "cannot be read"),
    ],
)  # fmt: skip
def test_a_metaimage_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    (tmp_path / "a.mha").write_bytes(HEADER.replace(old, new).encode() + bytes(range(8)))
    with pytest.raises(CaseError, match=said) as caught:
        read_volume(tmp_path / "a.mha")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("uint8", "block", "E_DIMS", "holds block"),
        ("uint8", "uint16", "E_READ", "endian"),
        ("encoding: raw", "encoding: ascii", "E_FORMAT", "of ascii"),
        ("encoding: raw", "encoding: raw\nline skip: 2", "E_FORMAT", "skips lines"),
        ("encoding: raw", "encoding: gzip", "E_READ", "cannot be read"),
        ("encoding: raw", "encoding: raw\nspace units: \"um\" \"um\" \"um\"", "E_AFFINE", "lies in the unit um"),
        ("left-posterior-superior", "scanner-xyz", "E_AFFINE", "lies in the space scanner-xyz"),
        ("space directions: (1,0,0) (0,2,0) (0,0,3)", "spacings: 1 2 3", "E_AFFINE", "and has no directions there"),
        ("sizes: 2 2 2", "sizes: 2 2 3", "E_READ", "cut short"),
        ("dimension: 3", "dimension: 3\nkinds: vector domain domain", "E_DIMS", "give one 3-D volume"),
        ("(1,0,0)", "none", "E_AFFINE", "does not say how the voxels lie"),
    ],
)  # fmt: skip
def test_a_nrrd_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(NRRD_HEADER.replace(old, new).encode() + bytes(range(8)))
    with pytest.raises(CaseError, match=said) as caught:
        read_volume(tmp_path / "a.nrrd")
    assert caught.value.code == code


@pytest.mark.parametrize("space", ["right-anterior-superior", "LAS", "left-posterior-superior"])
def test_every_space_lies_where_simple_itk_puts_it(tmp_path: Path, space: str) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(NRRD_HEADER.replace("left-posterior-superior", space).encode() + bytes(range(8)))
    theirs = sitk.ReadImage(str(path))
    turn = np.reshape(theirs.GetDirection(), (3, 3)) * theirs.GetSpacing()
    assert np.allclose(itk.read(path).affine[:3, :3], np.diag([-1, -1, 1]) @ turn)


def test_bytes_before_the_voxels_and_units_are_obeyed(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"head" + bytes(range(8)))
    text = HEADER.replace("LOCAL", "a.raw")
    for skip in (4, -1):
        more = f"HeaderSize = {skip}\nDistanceUnits = cm\nElementDataFile"
        (tmp_path / "a.mhd").write_text(text.replace("ElementDataFile", more))
        found = itk.read(tmp_path / "a.mhd")
        assert (found.values.ravel("F") == range(8)).all() and found.affine[2, 2] == 30
    (tmp_path / "b.nhdr").write_text(
        NRRD_HEADER.replace("encoding: raw", "encoding: raw\nbyte skip: 4\ndata file: a.raw")
    )
    assert (itk.read(tmp_path / "b.nhdr").values.ravel("F") == range(8)).all()


def test_a_file_of_voxels_beside_its_header_is_not_told_as_unread(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "images").mkdir()
    written(tmp_path / "images" / "a.mhd")
    (tmp_path / "images" / "v.nii").unlink()
    dataset = opened("folder", tmp_path)
    assert {ref.volume for ref in dataset.refs} == {"a"} and [each.kind for each in dataset.beside] == ["unscored"]


@pytest.mark.parametrize("field", ["9" * 400, "type" * 300])
def test_a_header_that_ends_the_reader_of_itk_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(NRRD_HEADER.replace("type", field).encode() + bytes(range(8)))
    with pytest.raises(CaseError, match="cannot be read"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.fault("B5")
@pytest.mark.parametrize("packing", ["gzip", "bzip2"])
def test_voxels_that_unpack_to_more_than_the_header_promises_are_not_unpacked(tmp_path: Path, packing: str) -> None:
    packed = {"gzip": gzip.compress, "bzip2": bz2.compress}[packing](bytes(1 << 26))
    (tmp_path / "a.nrrd").write_bytes(NRRD_HEADER.replace("raw", packing).encode() + packed)
    tracemalloc.start()
    try:
        with pytest.raises(CaseError, match=r"holds more than|cut short"):
            read_volume(tmp_path / "a.nrrd")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_damage_in_packed_voxels_is_told_by_their_checksum(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"a.{ending}")
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CaseError, match="cannot be read"):
        read_volume(path)


@pytest.mark.fault("N11")
@pytest.mark.parametrize("yes", ["True", "T", "t", "1", "TRUE"])
def test_every_yes_of_metaimage_is_one(tmp_path: Path, yes: str) -> None:
    values = (np.arange(8).reshape(2, 2, 2) * 257 + 1).astype(">u2")
    header = HEADER.replace("BinaryData = True", f"BinaryData = {yes}\nElementByteOrderMSB = {yes}")
    (tmp_path / "a.mha").write_bytes(header.replace("UCHAR", "USHORT").encode() + values.tobytes(order="F"))
    wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.mha"))).transpose(2, 1, 0)
    assert (wanted == values).all()
    assert (np.sort(read_volume(tmp_path / "a.mha").values.ravel()) == np.sort(wanted.ravel())).all()


def attempt(seed: int, folder: Path) -> None:
    """A volume of any type, direction, spacing and packing that SimpleITK writes, against what nibabel makes of it."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 100, tuple(int(each) for each in rng.integers(2, 8, 3))).astype(rng.choice(KINDS))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3))) if rng.integers(2) else (np.eye(3)[rng.permutation(3)], 0)
    spacing, origin = rng.uniform(0.3, 5, 3), rng.uniform(-200, 200, 3)
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetDirection(turn.ravel().tolist())
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    path = folder / f"a.{rng.choice(ENDINGS)}"
    sitk.WriteImage(image, str(path), bool(rng.integers(2)))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, origin
    affine[:2] *= -1
    wanted = nib.as_closest_canonical(nib.Nifti1Image(values.astype(np.float64), affine))
    found = read_volume(path)
    assert (found.values == wanted.get_fdata()).all()
    assert np.abs(found.affine - wanted.affine).max() < 1e-4
    assert found.zooms == pytest.approx(nib.affines.voxel_sizes(wanted.affine), rel=1e-5)


@pytest.mark.fault("N11")
def test_what_simple_itk_writes_lies_where_it_says(tmp_path: Path) -> None:
    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 1 << 30))
    def check(seed: int) -> None:
        attempt(seed, tmp_path)

    check()
