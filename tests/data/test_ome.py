"""OME-TIFF written by tifffile, read back as it was written; what its XML cannot mean is refused by name."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from salip_exp.data import _ome as ome
from salip_exp.data import _tiff as tiff
from salip_exp.data.case import Dataset
from salip_exp.data.paths import stem
from salip_exp.data.volumes import is_volume, read_grid, read_target, read_volume
from salip_exp.errors import CaseError, EnvironmentFault

Open = Callable[..., Dataset]
VALUES = np.random.default_rng(7).integers(0, 4000, (5, 8, 6)).astype(np.uint16)  # planes, rows, columns
SIZES = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (250, 500, 2000), strict=True)}


def write(path: Path, values: NDArray[Any] = VALUES, axes: str = "ZYX", options: Any = None, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, ome=True, metadata={"axes": axes, **more}, **(options or {}))
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"bigtiff": True, "byteorder": ">"},
        {"tile": (16, 16), "compression": "zlib"},
    ],
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_pages_that_are_a_volume_are_one(tmp_path: Path, options: Any, kind: Any) -> None:
    values = VALUES.astype(kind)
    path = write(tmp_path / "a.ome.tif", values, options=options, **SIZES)
    found, grid = read_volume(path), read_grid(path)
    assert is_volume(path) and found.values.dtype == kind
    assert (found.values == values.transpose(2, 1, 0)[::-1, ::-1]).all(), "columns go left, rows posterior"
    assert found.zooms == pytest.approx((0.25, 0.5, 2.0)) == grid.zooms and found.values.shape == grid.values.shape


@pytest.mark.parametrize(("display", "step"), [("radiological", 1), ("neurological", -1)])
def test_a_cut_across_planes_is_the_page_as_it_is_seen(tmp_path: Path, opened: Open, display: str, step: int) -> None:
    write(tmp_path / "images" / "a.OME.TIF", **SIZES)
    write(tmp_path / "masks" / "a_mask.ome.tiff", (VALUES > 2000).astype(np.uint8))
    keys = ("volume.axis=axial", "volume.window=[0,4000]", "resize.mode=native", f"volume.display={display}")
    case = opened("folder", tmp_path, *keys, "volume.mask_affine=ignore").refs[2].load()
    assert case.case_id == "a/axial_002" and case.spacing == (0.5, 0.25)
    assert (case.image[..., 0] == np.round(VALUES[2, :, ::step] / 4000 * 255)).all()
    assert case.mask is not None and (case.mask == (VALUES[2, :, ::step] > 2000)).all()


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 1e-6), ("µm", 1e-3), ("mm", 1.0), ("cm", 10.0), ("m", 1000.0), ("Å", 1e-7)]
)
def test_sizes_come_in_their_units(tmp_path: Path, unit: str, factor: float) -> None:
    sizes = {f"PhysicalSize{axis}": 0.02 / factor for axis in "XYZ"}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"}
    found = read_volume(write(tmp_path / "a.ome.tif", **sizes, **units))
    assert found.zooms == pytest.approx((0.02, 0.02, 0.02))


@pytest.mark.parametrize("told", [{}, {f"PhysicalSize{a}": 1 for a in "XYZ"} | {"PhysicalSizeZUnit": "pixel"}])
def test_without_sizes_figures_in_mm_are_missing(tmp_path: Path, opened: Open, told: Any) -> None:
    units = {f"PhysicalSize{axis}Unit": "reference frame" for axis in "XYZ"} if told else {}
    write(tmp_path / "images" / "a.ome.tif", **(told | units))
    case = opened("folder", tmp_path, "volume.axis=axial").refs[0].load()
    assert case.spacing is None and "voxel size unknown" in case.notes


def test_pictures_are_grey_or_coloured_and_know_their_pixels(tmp_path: Path, opened: Open) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    rows = {"PhysicalSizeX": 100, "PhysicalSizeY": 200}
    write(tmp_path / "images" / "a.ome.tif", VALUES[0], "YX", **rows)
    write(tmp_path / "images" / "b.ome.tif", colours, "YXS", {"photometric": "rgb"})
    write(tmp_path / "masks" / "a.ome.tif", (VALUES[0] > 2000).astype(np.uint8) * 255, "YX")
    grey, coloured = (ref.load() for ref in opened("folder", tmp_path, "resize.mode=native").refs)
    span = VALUES[0].max() - VALUES[0].min()
    assert (grey.image[..., 1] == np.round((VALUES[0] - VALUES[0].min()) * (255 / span))).all()
    assert grey.spacing == pytest.approx((0.2, 0.1)) and (grey.mask == (VALUES[0] > 2000)).all()
    assert (coloured.image == colours).all() and coloured.spacing is None


def test_pages_may_stand_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif")
    turned = (
        '<TiffData IFD="0" PlaneCount="5"/>',
        '<TiffData IFD="0" FirstZ="4"/><TiffData IFD="1" FirstZ="0" PlaneCount="4"/>',
    )
    rewritten(path, *turned)
    assert (read_volume(path).values == VALUES[[1, 2, 3, 4, 0]].transpose(2, 1, 0)[::-1, ::-1]).all()


def rewritten(path: Path, old: str, new: str) -> None:
    """Another XML in the file, its pages as they were."""
    with tifffile.TiffFile(path) as tif:
        pages, text = [page.asarray() for page in tif.pages], tif.ome_metadata
    assert text is not None and old in text, text
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(pages):
            said = text.replace(old, new).encode() if number == 0 else None
            writer.write(page, description=said, metadata=None, contiguous=False, photometric="minisblack")


SEVERAL = [np.zeros((4, 8, 6), np.uint8), np.zeros((8, 6), np.uint8)]


def several(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        for number, values in enumerate(SEVERAL):
            writer.write(values, metadata={"axes": "ZYX"[-values.ndim :], "Name": f"scan {number}"})


DAMAGE: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "several images": ("E_DIMS", r"holds 2 images \(scan 0, scan 1\)", several),
    "times": ("E_DIMS", "holds 5 times", lambda path: write(path, axes="TYX")),
    "channels": (
        "E_DIMS",
        r"holds 5 channels \(DAPI, GFP, c, d, e\)",
        lambda path: write(path, axes="CYX", Channel={"Name": ["DAPI", "GFP", "c", "d", "e"]}),
    ),
    "a volume of colours": (
        "E_DIMS",
        "a volume of colours",
        lambda path: write(path, np.zeros((4, 8, 6, 3), np.uint8), "ZYXS", {"photometric": "rgb"}),
    ),
    "sizes in part": ("E_AFFINE", "along some axes alone", lambda path: write(path, PhysicalSizeX=1, PhysicalSizeY=1)),
    "no size": ("E_AFFINE", "pixels are 0 µm large", lambda path: write(path, **(SIZES | {"PhysicalSizeZ": 0}))),
    "an odd unit": (
        "E_AFFINE",
        "pixels are 2000 li large",
        lambda path: write(path, **SIZES, PhysicalSizeZUnit="li"),
    ),
    "white zero": ("E_FORMAT", "MINISWHITE", lambda path: write(path, options={"photometric": "miniswhite"})),
    "turned": ("E_FORMAT", "to be turned", lambda path: write(path, options={"extratags": [(274, 3, 1, 6, True)]})),
    "no XML": ("E_FORMAT", "has no OME-XML", lambda path: tifffile.imwrite(path, VALUES, ome=False)),
    "no TIFF": ("E_READ", "it is no TIFF", lambda path: path.write_bytes(b"OME")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_no_one_volume_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    code, said, make = DAMAGE[kind]
    path = tmp_path / "a.ome.tif"
    make(path)
    with pytest.raises(CaseError, match=said) as caught:
        ome.read(path)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ('SizeZ="5"', 'SizeZ="6"', "E_READ", "planes 5 stand nowhere"),
        ('SizeZ="5"', 'SizeZ="900000000000"', "E_READ", "SizeZ is 900000000000"),
        ('SizeX="6"', 'SizeX="1000000"', "E_DIMS", "page 0 is"),
        ('SizeX="6" SizeY="8"', 'SizeX="1000000" SizeY="1000000"', "E_SIZE", "the limit is"),
        ('IFD="0" PlaneCount="5"', 'IFD="1" PlaneCount="5"', "E_READ", "page 5 is not there"),
        ('PlaneCount="5"/>', 'PlaneCount="5"><UUID FileName="b.ome.tif">u</UUID></TiffData>', "E_PATH", "b.ome.tif"),
        ("<OME ", "<!DOCTYPE OME [<!ENTITY a 'b'>]><OME ", "E_FORMAT", "defines entities"),
        ("<LightPath/>", "<ModuloAlongZ/>", "E_DIMS", "ModuloAlong"),
        ("</Image>", "</Image><BinaryOnly/>", "E_PATH", "in another file"),
        ("</OME>", "", "E_READ", "cannot be read as OME-TIFF"),
    ],
)  # fmt: skip
def test_an_xml_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    path = write(tmp_path / "a.ome.tif")
    rewritten(path, old, new)
    with pytest.raises(CaseError, match=re.escape(said)) as caught:
        ome.read(path)
    assert caught.value.code == code


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif")
    rewritten(path, "<LightPath/>", "")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 40])
    with pytest.raises(CaseError) as caught:
        ome.read(path)
    assert caught.value.code == "E_READ"


@pytest.mark.parametrize("most", [1, 4])
def test_pages_are_counted_before_they_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    path = write(tmp_path / "a.ome.tif")
    monkeypatch.setattr(tiff, "PAGES", most)
    with pytest.raises(CaseError, match=f"more than {most} pages, which is the limit") as caught:
        ome.read(path)
    assert caught.value.code == "E_SIZE"


def test_without_the_extra_its_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.ome.tif")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[ome\]'"):
        ome.is_stack(path)


def test_labels_are_chosen_and_endings_are_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", (VALUES % 3).astype(np.uint8))
    assert (read_target(path, 2).values == (read_volume(path).values == 2)).all()
    assert [stem(Path(name)) for name in ("a.ome.tif", "b.OME.TIFF", "c.nii.gz", "d.tif", "e")] == [
        "a",
        "b",
        "c",
        "d",
        "e",
    ]


@pytest.mark.fault("B2")
def test_marks_of_an_xml_are_counted_before_it_is_parsed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif")
    rewritten(path, "<LightPath/>", "<a/>" * 500_001)
    with pytest.raises(CaseError, match="more than 500,000 marks") as caught:
        ome.read(path)
    assert caught.value.code == "E_SIZE"
