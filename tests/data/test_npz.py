"""NPZ archives of MedSAM: an image and its mask in one file."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salip_exp.data import _npz as npz
from salip_exp.data.case import Dataset
from salip_exp.data.volumes import read_volume
from salip_exp.errors import CaseError

Open = Callable[..., Dataset]
KEYS = ("files.layout=medsam_npz", "resize.mode=native", "volume.axis=axial", "volume.window=[0,255]")


def test_volumes_and_pictures_come_with_their_masks(tmp_path: Path, opened: Open) -> None:
    images = np.random.default_rng(0).integers(1, 255, (3, 8, 6)).astype(np.uint8)
    labels = np.where(images > 128, 2, 0).astype(np.uint8)
    (tmp_path / "train").mkdir()
    np.savez_compressed(tmp_path / "train" / "CT_1.npz", imgs=images, gts=labels, spacing=np.array([0.5, 0.7, 3.0]))
    picture = np.random.default_rng(1).integers(0, 255, (9, 7, 3)).astype(np.uint8)
    np.savez_compressed(tmp_path / "train" / "US_2.npz", imgs=picture, gts=picture[..., 0] // 200)
    *slices, flat = opened("folder", tmp_path, *KEYS).refs
    assert [ref.case_id for ref in slices] == [f"CT_1/axial_{n:03d}" for n in range(3)] and flat.case_id == "US_2"
    for number, ref in enumerate(slices):  # rows go to posterior, columns to left: turned by half as slices are shown
        case = ref.load()
        assert (case.image[..., 0] == images[number, :, ::-1]).all() and case.mask is not None
        assert (case.mask == (labels[number, :, ::-1] == 2)).all() and case.spacing == (0.7, 0.5)
    case = flat.load()
    assert (case.image == picture).all() and case.mask is not None and (case.mask == (picture[..., 0] >= 200)).all()
    assert opened("folder", tmp_path, *KEYS, "files.label=1").refs[-1].load().mask is not None


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"gts": np.zeros((2, 3, 4))}, "holds gts, and no image: imgs or img"),
        ({"imgs": np.array([{}], dtype=object)}, "holds object in imgs"),
        ({"imgs": np.zeros((2, 3, 4, 5))}, "4 dimensions"),
        ({"imgs": np.zeros((2, 3, 4)), "arr_0": np.ones((2, 3, 4))}, "holds imgs and arr_0, and one is the image"),
        ({"imgs": np.zeros((2, 3, 4)), "spacing": np.array([1, -2, 3])}, "give sizes above 0"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(CaseError, match=said):
        read_volume(tmp_path / "a.npz")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", imgs=np.ones((20, 30, 40)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[5000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(CaseError, match="Bad CRC"):
        read_volume(tmp_path / "a.npz")


@pytest.mark.fault("B8")
def test_a_table_of_contents_is_counted_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("imgs.npy", b"")
        for number in range(12_000):
            archive.writestr(f"{number:060}.npy", b"")
    with pytest.raises(CaseError, match=r"its table of contents has 1,\d{3},\d{3} bytes, and 1,048,576 is") as caught:
        npz.is_stack(path)
    assert caught.value.code == "E_SIZE"


@pytest.mark.fault("B5")
@pytest.mark.parametrize(
    ("member", "said"),
    [
        (b"\x93NUMPY\2\0" + (1 << 30).to_bytes(4, "little") + b" " * (1 << 20), "a header of another version"),
        (b"\x93NUMPY\1\0\x76\0{'descr': '<f8', 'fortran_order': False, 'shape': (9, 9)}", "cannot be read as NPZ"),
    ],
)
def test_a_header_of_an_array_is_as_long_as_plain_numbers_have_it(tmp_path: Path, member: bytes, said: str) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imgs.npy", member)
    with pytest.raises(CaseError, match=said):
        npz.read(path)


def test_a_spacing_is_three_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", imgs=np.zeros((2, 3, 4)), spacing=np.ones(4))
    with pytest.raises(CaseError, match=r"spacing has \(4,\) numbers"):
        npz.read(tmp_path / "a.npz")


def test_a_volume_without_spacing_has_no_figures_in_mm(tmp_path: Path, opened: Callable[..., Dataset]) -> None:
    np.savez(tmp_path / "a.npz", imgs=np.zeros((2, 3, 5), np.uint8), gts=np.ones((2, 3, 5), np.uint8))
    case = opened("folder", tmp_path, "files.layout=medsam_npz", "volume.axis=axial").refs[0].load()
    assert case.spacing is None and "voxel size unknown" in case.notes


@pytest.mark.fault("N11")
def test_an_archive_with_two_arrays_of_one_name_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 3, 4)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("imgs.npy", stream.getvalue())
    with pytest.raises(CaseError, match="holds imgs and imgs"):
        read_volume(tmp_path / "a.npz")
