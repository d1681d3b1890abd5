"""What files say about themselves, written by Pillow, tifffile, nibabel and SimpleITK, is obeyed or refused by name.

Each input is an array that is written in one of the ways that the format has, and read back: as it was, or not at all.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from salip_exp.config import DatasetConfig
from salip_exp.data.images import read_mask, read_picture
from salip_exp.data.loading import slice_refs
from salip_exp.data.volumes import read_target, read_volume
from salip_exp.errors import CaseError

Configure = Callable[..., DatasetConfig]
TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""What is stored, of an upright picture, for each EXIF orientation."""
GREY = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
KINDS = [(kind, "L") for kind in GREY] + [("uint8", "RGB"), ("uint16", "RGB")]


def windowed(values: NDArray[Any]) -> NDArray[np.uint8]:
    """What a picture of such numbers is to look like."""
    if values.dtype != np.uint8:
        real = values.astype(np.float64)
        values = np.round((real - real.min()) * (255 / max(np.ptp(real), 1e-9))).astype(np.uint8)
    return values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2)


def numbers(rng: np.random.Generator, kind: str, channels: str) -> NDArray[Any]:
    """Random numbers over the whole range of a type."""
    shape = (int(rng.integers(5, 30)), int(rng.integers(5, 30)), *((3,) if channels == "RGB" else ()))
    if kind.startswith("float"):
        return rng.normal(0, 300, shape).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, endpoint=True, dtype=kind)


def differs(read: Callable[[], bool]) -> str:
    """`same`, or the code that the file is refused with; fails on anything else."""
    try:
        same = read()
    except CaseError as error:
        return error.code
    assert same, "another image was read, and nothing said"
    return "same"


def attempt_tiff(seed: int, path: Path) -> str:
    """A TIFF of any type, polarity, orientation, byte order, compression and plan."""
    rng = np.random.default_rng(seed)
    kind, channels = KINDS[rng.integers(len(KINDS))]
    upright, turn = numbers(rng, kind, channels), int(rng.integers(1, 9))
    stored = np.ascontiguousarray(TURNS[turn](upright))
    options: dict[str, Any] = {"byteorder": rng.choice(["<", ">"]), "extratags": [(274, 3, 1, turn, True)]}
    options["photometric"] = "rgb" if channels == "RGB" else rng.choice(["minisblack", "miniswhite"])
    if options["photometric"] == "miniswhite" and kind.startswith("u"):
        stored = np.iinfo(kind).max - stored
    if channels == "RGB" and rng.integers(2):
        options |= {"planarconfig": "separate"}
        stored = np.ascontiguousarray(np.moveaxis(stored, -1, 0))
    if rng.integers(2):
        options |= {"compression": "zlib"} | (
            {"predictor": True} if not kind.startswith("float") and rng.integers(2) else {}
        )
    options |= {"tile": (16, 16)} if rng.integers(2) else {}
    tifffile.imwrite(path, stored, metadata=None, **options)
    return differs(lambda: bool((np.abs(read_picture(path)[0].astype(int) - windowed(upright)) <= 1).all()))


def attempt_picture(seed: int, folder: Path) -> str:
    """A picture of Pillow's in any mode, with an EXIF orientation."""
    rng = np.random.default_rng(seed)
    mode = str(rng.choice(["1", "L", "P", "RGB", "LA", "RGBA", "I;16"]))
    form = str(rng.choice(["png", "tif", "jpg"])) if mode in ("L", "RGB") else str(rng.choice(["png", "tif"]))
    upright = numbers(rng, "uint16" if mode == "I;16" else "uint8", "RGB" if mode in ("RGB", "RGBA") else "L")
    turn, exif = int(rng.integers(1, 9)), Image.Exif()
    exif[0x0112] = turn
    if mode == "1":
        upright = (upright > 127).astype(np.uint8) * np.uint8(255)
    if form == "jpg":
        upright = np.asarray(Image.fromarray(upright[:4, :4]).resize((64, 48), Image.Resampling.BILINEAR))
    stored = np.ascontiguousarray(TURNS[turn](upright))
    if mode == "P":  # greys in an order of their own
        greys = rng.permutation(256).astype(np.uint8)
        image = Image.fromarray(np.argsort(greys).astype(np.uint8)[stored]).convert("P")
        image.putpalette(np.repeat(greys, 3).tobytes())
    else:
        image = Image.fromarray(stored)
        image = image if mode == "I;16" else image.convert(mode)
    path = folder / f"p.{form}"
    image.save(path, exif=exif, **({"quality": 100, "subsampling": 0} if form == "jpg" else {}))
    near = 6 if form == "jpg" else 1
    return differs(lambda: bool((np.abs(read_picture(path)[0].astype(int) - windowed(upright)) <= near).all()))


def attempt_mask(seed: int, folder: Path) -> str:
    """A mask of two values or of labels, turned, in any kind of file that keeps numbers."""
    rng = np.random.default_rng(seed)
    count = int(rng.choice([1, 1, 2, 5, 40]))
    kind = str(rng.choice(["uint8", "uint16", "int16", "int32", "float32"]))
    labels = np.sort(rng.choice(np.arange(1, 250 if kind == "uint8" else 30_000), count, replace=False))
    upright = np.kron(rng.choice(np.concatenate([[0], labels]), (6, 8)), np.ones((5, 4))).astype(kind)
    turn = int(rng.integers(1, 9))
    stored, held = np.ascontiguousarray(TURNS[turn](upright)), np.unique(upright[upright != 0])
    path = folder / ("m.png" if kind in ("uint8", "uint16") and rng.integers(2) else "m.tif")
    if path.suffix == ".png":
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.fromarray(stored).save(path, exif=exif)
    else:
        tifffile.imwrite(path, stored, metadata=None, photometric="minisblack", extratags=[(274, 3, 1, turn, True)])
    if len(held) > 1:
        with pytest.raises(CaseError, match="holds the labels") as caught:
            read_mask(path)
        assert caught.value.code == "E_LABELS"
        chosen = int(rng.choice(held))
        return differs(lambda: bool((read_mask(path, chosen)[0] == (upright == chosen)).all()))
    return differs(lambda: bool((read_mask(path)[0] == (upright != 0)).all()))


def attempt_nifti(seed: int, folder: Path) -> str:
    """A volume in any type, unit, orientation, form, byte order, slope and wrapping, by nibabel or SimpleITK."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"]))
    shape = tuple(int(side) for side in rng.integers(3, 9, 3))
    values = rng.integers(0, 60, shape).astype(kind)
    zooms = rng.uniform(0.3, 4, 3).round(2)
    path = folder / str(rng.choice(["v.nii", "v.nii.gz"]))
    if rng.integers(4) == 0:
        said = values
        image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
        image.SetSpacing([float(each) for each in zooms])
        image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])  # LPS to RAS
        sitk.WriteImage(image, str(path))
    else:
        unit = str(rng.choice(["unknown", "mm", "micron", "meter"]))
        factor = {"micron": 1000.0, "meter": 0.001}.get(unit, 1.0)
        ways = [f"{x}{y}{z}" for x in "RL" for y in "AP" for z in "SI"]
        order = "".join(str(rng.choice(ways))[each] for each in rng.permutation(3))
        make = nib.Nifti2Image if rng.integers(2) else nib.Nifti1Image
        plain = make(values, np.diag([*zooms * factor, 1]), make.header_class(endianness=str(rng.choice(["<", ">"]))))
        start, end = (nib.orientations.axcodes2ornt(each) for each in ("RAS", order))
        written = plain.as_reoriented(nib.orientations.ornt_transform(start, end))
        written.set_data_dtype(kind)
        written.header.set_xyzt_units(unit)
        if rng.integers(2):
            written.set_qform(written.affine, 1)
            written.set_sform(None, 0)
        slope, inter = [(1, 0), (0.5, -3), (np.nan, np.nan)][rng.integers(3)]
        written.header.set_slope_inter(slope, inter)  # of the numbers as they stand: nibabel scales none then
        said = values if np.isnan(slope) else values * slope + inter
        nib.save(written, path)
    if rng.integers(3) == 0:  # compressed whatever the name says
        raw = path.read_bytes()
        path.write_bytes(
            gzip.decompress(raw) if path.suffix == ".gz" else gzip.compress(raw[:99]) + gzip.compress(raw[99:])
        )

    def same() -> bool:
        read = read_volume(path)
        return bool(np.allclose(read.values, said, atol=1e-3) and np.allclose(read.zooms, zooms, rtol=1e-4))

    return differs(same)


def attempt_damage(seed: int, folder: Path) -> str:
    """One bit of a compressed file flipped: read as it was written, or refused."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 255, (12, 11, 10)).astype(np.uint8)
    volume = bool(rng.integers(2))
    path = folder / ("d.nii.gz" if volume else "d.png")
    if volume:
        nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    else:
        Image.fromarray(values[0]).save(path)
    raw = bytearray(path.read_bytes())
    raw[int(rng.integers(10, len(raw)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(raw)
    if volume:
        return differs(lambda: bool((read_volume(path).values == values).all()))
    return differs(lambda: bool((read_picture(path)[0][:, :, 0] == values[0]).all()))


ATTEMPTS: dict[str, Callable[[int, Path], str]] = {
    "tiff": lambda seed, folder: attempt_tiff(seed, folder / "t.tif"),
    "picture": attempt_picture,
    "mask": attempt_mask,
    "nifti": attempt_nifti,
    "damage": attempt_damage,
}
MARKS = {
    "tiff": ("N2", "N3"),
    "picture": ("N2", "N3"),
    "mask": ("N1", "N2"),
    "nifti": ("N4", "N9", "N10"),
    "damage": ("N5",),
}


@pytest.mark.parametrize("name", [pytest.param(each, marks=pytest.mark.fault(*MARKS[each])) for each in ATTEMPTS])
def test_what_is_written_is_read_or_refused_by_name(name: str, tmp_path: Path) -> None:
    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
    @given(st.integers(0, 1 << 30))
    def attempt(seed: int) -> None:
        ATTEMPTS[name](seed, tmp_path)

    attempt()


def flat(path: Path, affine: NDArray[Any] | None = None, unit: str = "mm", size: float = 1.0) -> Path:
    """A volume of a box, with voxels of a size in a unit."""
    values = np.zeros((12, 10, 8), np.uint8)
    values[2:10, 2:8, 1:7] = 1
    image = nib.Nifti1Image(values, np.diag([size, size, size, 1]) if affine is None else affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


@pytest.mark.fault("N4")
@pytest.mark.parametrize(("unit", "size"), [("mm", 2.0), ("micron", 2000.0), ("meter", 0.002), ("unknown", 2.0)])
def test_n4_one_thing_has_one_size_in_every_unit(tmp_path: Path, config: Configure, unit: str, size: float) -> None:
    image, mask = (flat(tmp_path / f"{name}.nii.gz", unit=unit, size=size) for name in ("i", "m"))
    refs = slice_refs("v", "g", image, mask, config("cc359", "volume.trim_mm=4", "resize.mode=native"))
    assert [ref.slice for ref in refs] == [4, 5, 6, 7]
    assert refs[0].load().spacing == pytest.approx((2.0, 2.0))


@pytest.mark.fault("N4")
def test_n4_a_unit_that_nifti_does_not_know_is_refused(tmp_path: Path) -> None:
    path = flat(tmp_path / "v.nii")
    raw = bytearray(path.read_bytes())
    raw[123] = 5
    path.write_bytes(raw)
    with pytest.raises(CaseError, match="unit of length has the number 5"):
        read_volume(path)


@pytest.mark.fault("N5")
@pytest.mark.parametrize("damage", ["crc", "length", "trailer", "garbage", "second"])
def test_n5_gzip_is_read_to_its_end(tmp_path: Path, damage: str) -> None:
    path = flat(tmp_path / "v.nii.gz")
    raw = bytearray(path.read_bytes())
    if damage in ("crc", "length"):
        raw[-8 if damage == "crc" else -4] ^= 1
    content = {"trailer": raw[:-3], "garbage": raw + b"garbage", "second": raw + gzip.compress(b"more")}
    path.write_bytes(content.get(damage, raw))
    with pytest.raises(CaseError) as caught:
        read_target(path, None)
    assert caught.value.code == ("E_DIMS" if damage == "second" else "E_READ")


@pytest.mark.fault("N8")
def test_n8_a_header_that_promises_less_than_there_is_is_refused(tmp_path: Path) -> None:
    path = flat(tmp_path / "v.nii")
    raw = bytearray(path.read_bytes())
    raw[42] -= 1
    path.write_bytes(raw)
    with pytest.raises(CaseError, match="holds more than the 11 x 10 x 8 voxels"):
        read_volume(path)
    stack = np.arange(600, dtype=np.uint8).reshape(2, 15, 20)
    for options in ({"imagej": True, "truncate": True}, {"truncate": True}, {"volumetric": True, "tile": (1, 16, 16)}):
        tifffile.imwrite(tmp_path / "t.tif", stack, photometric="minisblack", **options)
        with pytest.raises(CaseError, match="holds several pictures"):
            read_picture(tmp_path / "t.tif")


@pytest.mark.fault("N9")
def test_n9_what_is_compressed_is_told_by_its_bytes(tmp_path: Path) -> None:
    packed, plain = flat(tmp_path / "a.nii.gz"), flat(tmp_path / "b.nii")
    values = read_volume(plain).values
    (tmp_path / "c.nii").write_bytes(packed.read_bytes())
    (tmp_path / "d.nii.gz").write_bytes(plain.read_bytes())
    assert all((read_volume(tmp_path / name).values == values).all() for name in ("c.nii", "d.nii.gz"))


@pytest.mark.fault("N7")
def test_n7_a_mask_lies_where_its_corners_lie_in_voxels(tmp_path: Path, config: Configure) -> None:
    small = np.diag([0.05, 0.05, 0.05, 1.0])
    image, moved = flat(tmp_path / "i.nii", small), small.copy()
    moved[0, 3] = 0.04  # nearly a voxel, and less than what is rounding where voxels are large
    turned = small.copy()
    turned[0, 1] = 0.004  # the far corner is off by more than half a voxel
    for affine in (moved, turned):
        mask = flat(tmp_path / "m.nii", affine)
        with pytest.raises(CaseError, match=r"by up to 0\.\d+ voxels.*mask_affine=ignore"):
            slice_refs("v", "g", image, mask, config("cc359", "volume.trim_mm=0"))[0].load()
    large = np.diag([5.0, 5.0, 5.0, 1.0])
    near = large.copy()
    near[0, 3] = 0.2
    refs = slice_refs(
        "v", "g", flat(tmp_path / "i.nii", large), flat(tmp_path / "m.nii", near), config("cc359", "volume.trim_mm=0")
    )
    assert refs[0].load().mask is not None


@pytest.mark.fault("N7")
def test_n7_a_mask_with_the_identity_takes_the_place_of_its_image_where_that_is_wanted(
    tmp_path: Path, config: Configure
) -> None:
    affine = np.array([[0, -2.0, 0, 9], [-1.5, 0, 0, 3], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    image, right = (flat(tmp_path / f"{name}.nii", affine) for name in ("i", "r"))
    wrong = flat(tmp_path / "w.nii", np.eye(4))

    def masks(mask: Path, *keys: str) -> list[Any]:
        settings = config("cc359", "volume.trim_mm=0", "resize.mode=native", *keys)
        return [ref.load().mask for ref in slice_refs("v", "g", image, mask, settings)]

    with pytest.raises(CaseError, match="voxels"):
        masks(wrong)
    pairs = zip(masks(right), masks(wrong, "volume.mask_affine=ignore"), strict=True)
    assert all((one == other).all() for one, other in pairs)


@pytest.mark.fault("N10")
def test_n10_forms_that_disagree_are_noted(tmp_path: Path) -> None:
    image = nib.load(flat(tmp_path / "v.nii"))
    image.set_sform(np.diag([2.0, 2, 2, 1]), 4)
    image.set_qform(np.diag([1.0, 1, 1, 1]), 1)
    nib.save(image, tmp_path / "w.nii")
    read = read_volume(tmp_path / "w.nii")
    assert read.zooms == (2.0, 2.0, 2.0) and read.notes == ("qform and sform differ: sform taken",)


@pytest.mark.fault("N3")
def test_n3_a_mask_drawn_in_transparency_alone_or_of_a_palette_against_itself_is_refused(tmp_path: Path) -> None:
    shape = np.kron(np.array([[0, 1], [1, 0]], np.uint8), np.ones((6, 6), np.uint8))
    Image.merge("LA", [Image.new("L", (12, 12)), Image.fromarray(shape * np.uint8(255))]).save(tmp_path / "a.png")
    with pytest.raises(CaseError, match="transparency alone"):
        read_mask(tmp_path / "a.png")
    palette = Image.fromarray(shape).convert("P")
    palette.putpalette([255, 0, 0, 0, 0, 0])
    palette.save(tmp_path / "b.png")
    with pytest.raises(CaseError, match="colour for the number 0"):
        read_mask(tmp_path / "b.png")
    assert (read_mask(tmp_path / "b.png", 0)[0] == (shape == 0)).all()


@pytest.mark.ci
@pytest.mark.fault("N1", "N2", "N3", "N4", "N5", "N9", "N10")
def test_two_thousand_inputs_and_no_silent_difference(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen = {name: Counter(attempt(seed, tmp_path) for seed in range(500)) for name, attempt in ATTEMPTS.items()}
    with capfd.disabled():
        print(
            f"\n{sum(each.total() for each in seen.values())} inputs:",
            {name: dict(each) for name, each in seen.items()},
        )
    for name in ("tiff", "picture", "mask", "nifti"):
        assert seen[name]["same"] >= 200, name
