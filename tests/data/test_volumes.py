"""NIfTI volumes: what is refused, how they are turned and windowed, which slices are taken."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.config import Axis, DatasetConfig, NonFinite, Volume
from salip_exp.data import volumes
from salip_exp.data.case import Case, Source
from salip_exp.data.loading import slice_refs
from salip_exp.data.volumes import Slices, read_grid, read_target, read_volume, read_windowed, take_slices
from salip_exp.errors import CaseError

Save = Callable[..., Path]
Configure = Callable[..., DatasetConfig]
VALUES = np.random.default_rng(3).integers(1, 1000, (6, 8, 10)).astype(np.int16)
ORIENTATIONS = ["RAS", "LPS", "PIR", "ASL", "SRP"]


def code_of(read: Callable[[], object]) -> str:
    with pytest.raises(CaseError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return caught.value.code


def header_only(path: Path, shape: tuple[int, ...], kind: type = np.int16) -> Path:
    """A NIfTI file that promises a shape and holds a thousand bytes."""
    header = nib.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.eye(4), 1)
    content = header.binaryblock + bytes(4) + bytes(1000)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "NII.GZ"])
def test_a_volume_comes_as_it_was_saved(tmp_path: Path, volume: Save, ending: str) -> None:
    read = read_volume(volume(tmp_path / f"a.{ending}", VALUES, zooms=(1, 2, 3)))
    assert (read.values == VALUES).all() and read.zooms == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
@pytest.mark.fault("D1")
def test_d1_a_truncated_volume_is_refused_by_name(tmp_path: Path, volume: Save, ending: str, share: float) -> None:
    path = volume(tmp_path / f"a.{ending}", VALUES)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CaseError, match=str(path)) as caught:
        read_volume(path)
    assert caught.value.code == "E_READ"


@pytest.mark.fault("D1")
def test_d1_damaged_volumes_never_raise_anything_else(tmp_path: Path, volume: Save) -> None:
    whole = volume(tmp_path / "a.nii", VALUES).read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for number in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, 352, 3):
            damaged[place] = rng.integers(256)
        path = tmp_path / f"{number}.nii"
        path.write_bytes(damaged)
        try:
            read_windowed(path, Volume(non_finite=NonFinite.replace))
        except CaseError:
            refused += 1
    assert 0 < refused < 60


@pytest.mark.fault("D1")
def test_d1_a_volume_that_is_gone_is_refused(tmp_path: Path) -> None:
    assert code_of(lambda: read_volume(tmp_path / "gone.nii")) == "E_READ"
    assert code_of(lambda: read_windowed(tmp_path / "gone.nii", Volume())) == "E_READ"


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize(
    ("shape", "code"), [((30000, 30000, 30000), "E_SIZE"), ((600, 600, 600), "E_READ"), ((30000, 30000), "E_SIZE")]
)
@pytest.mark.fault("D1")
def test_a_header_that_promises_terabytes_is_refused_before_memory_is_taken(
    tmp_path: Path, ending: str, shape: tuple[int, ...], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "asanyarray", lambda *_, **__: pytest.fail("read"))
    path = header_only(tmp_path / f"a.{ending}", shape, np.float64)
    assert code_of(lambda: read_volume(path)) == code
    assert code_of(lambda: read_grid(path)) == code


@pytest.mark.fault("D10")
def test_d10_a_fourth_dimension_of_one_is_dropped_and_a_longer_one_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VALUES[..., None], np.eye(4)), tmp_path / "one.nii")
    nib.save(nib.Nifti1Image(np.stack([VALUES, VALUES], 3), np.eye(4)), tmp_path / "two.nii")
    assert (read_volume(tmp_path / "one.nii").values == VALUES).all()
    with pytest.raises(CaseError, match="6 x 8 x 10 x 2") as caught:
        read_volume(tmp_path / "two.nii")
    assert caught.value.code == "E_DIMS"


@pytest.mark.fault("D10")
def test_d10_colours_and_lines_are_no_volumes(tmp_path: Path) -> None:
    colours = np.zeros((4, 4, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii")
    assert code_of(lambda: read_volume(tmp_path / "rgb.nii")) == "E_DIMS"
    assert code_of(lambda: read_volume(header_only(tmp_path / "line.nii", (7,)))) == "E_DIMS"


@pytest.mark.parametrize("bad", [np.nan, 0.0])
@pytest.mark.fault("D11")
def test_d11_an_affine_that_places_nothing_is_refused(tmp_path: Path, bad: float) -> None:
    affine = np.diag([1, 1, bad, 1])
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.header["sform_code"], image.header["srow_z"] = 1, affine[2]
    image.header["qform_code"] = 0
    raw = bytearray(image.to_bytes())
    raw[252:256] = np.array([0, 1], "<i2").tobytes()
    raw[312:328] = affine[2].astype("<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    assert code_of(lambda: read_volume(tmp_path / "a.nii")) in {"E_AFFINE", "E_READ"}


@pytest.mark.parametrize("stored", ORIENTATIONS)
@pytest.mark.parametrize("axis", list(Axis))
@pytest.mark.fault("D11")
def test_d11_a_volume_stored_in_any_orientation_gives_the_same_slices(
    tmp_path: Path, volume: Save, config: Configure, stored: str, axis: Axis
) -> None:
    settings = config("cc359", f"volume.axis={axis}", "volume.trim_mm=0", "resize.mode=native")
    target = (VALUES > 300).astype(np.uint8)

    def cases(way: str) -> list[Case]:
        image, mask = (
            volume(tmp_path / f"{way}_{name}.nii", values, way, (0.5, 1.5, 2.5))
            for name, values in (("image", VALUES), ("mask", target))
        )
        return [ref.load() for ref in slice_refs("v", "g", image, mask, settings)]

    for one, other in zip(cases("RAS"), cases(stored), strict=True):
        assert (one.image == other.image).all() and one.mask is not None and (one.mask == other.mask).all()
        assert (one.case_id, one.spacing) == (other.case_id, other.spacing)


@pytest.mark.parametrize(
    ("axis", "spacing", "top_left"),
    [
        (Axis.sagittal, (3.0, 2.0), (2, 0, 9)),
        (Axis.coronal, (3.0, 1.0), (0, 2, 9)),
        (Axis.axial, (2.0, 1.0), (0, 7, 2)),
    ],
)
def test_slices_are_upright_and_their_spacing_is_row_then_column(
    axis: Axis, spacing: tuple[float, float], top_left: tuple[int, int, int]
) -> None:
    numbered = np.arange(480).reshape(6, 8, 10)
    slices = Slices(numbered, (1.0, 2.0, 3.0), np.diag([1.0, 2.0, 3.0, 1.0]))
    cut = slices.cut(axis, 2)
    assert cut[0, 0] == numbered[top_left] and slices.spacing(axis) == spacing
    rows, columns = {Axis.sagittal: (10, 8), Axis.coronal: (10, 6), Axis.axial: (8, 6)}[axis]
    assert cut.shape == (rows, columns)


@pytest.mark.parametrize("stored", ORIENTATIONS)
@pytest.mark.parametrize("axis", list(Axis))
def test_slices_go_back_to_where_the_file_has_them(tmp_path: Path, volume: Save, stored: str, axis: Axis) -> None:
    path = volume(tmp_path / "a.nii.gz", VALUES, stored, (1, 2, 3))
    read, file = read_volume(path), nib.load(path)
    mask = replace(read, values=read.values > 500)
    numbers = range(mask.values.shape[list(Axis).index(axis)])
    for mirrored in (False, True):
        slices = {number: mask.cut(axis, number, mirrored) for number in numbers}
        assert (read_grid(path).uncut(axis, slices, mirrored) == (file.get_fdata() > 500)).all()
    assert (read.file_affine == file.affine).all()
    assert not read.uncut(axis, {}).any()


def test_a_slice_says_where_it_was_read(tmp_path: Path, volume: Save, config: Configure) -> None:
    image, mask = volume(tmp_path / "a.nii", VALUES), volume(tmp_path / "m.nii", (VALUES > 9).astype(np.uint8))
    case = slice_refs("v", "g", image, mask, config("cc359", "volume.trim_mm=0", "volume.axis=coronal"))[2].load()
    assert case.source == Source(image, mask, (10, 6), Axis.coronal)


@pytest.mark.parametrize("axis", list(Axis))
def test_a_two_dimensional_volume_is_one_upright_slice(
    tmp_path: Path, volume: Save, config: Configure, axis: Axis
) -> None:
    path = tmp_path / "flat.nii"
    nib.save(nib.Nifti1Image(VALUES[:, :, 0], np.diag([0.5, 0.7, 1, 1])), path)
    refs = slice_refs("v", "g", path, None, config("cc359", f"volume.axis={axis}", "resize.mode=native"))
    assert [ref.case_id for ref in refs] == ["v/axial_000"]
    case = refs[0].load()
    assert case.image.shape == (8, 6, 3) and case.spacing == pytest.approx((0.7, 0.5))


@pytest.mark.parametrize(("shift", "code"), [(0.0, None), (0.01, None), (2.0, "E_AFFINE")])
@pytest.mark.fault("D11")
def test_d11_a_mask_that_lies_elsewhere_is_refused(
    tmp_path: Path, volume: Save, config: Configure, shift: float, code: str | None
) -> None:
    image = volume(tmp_path / "i.nii", VALUES)
    mask = volume(tmp_path / "m.nii", np.ones(VALUES.shape, np.uint8), shift=shift)
    ref = slice_refs("v", "g", image, mask, config("cc359", "volume.trim_mm=0"))[0]
    if code is None:
        ref.load()
    else:
        assert code_of(ref.load) == code


@pytest.mark.fault("D4")
def test_d4_a_mask_of_another_shape_is_refused(tmp_path: Path, volume: Save, config: Configure) -> None:
    image = volume(tmp_path / "i.nii", VALUES)
    mask = volume(tmp_path / "m.nii", np.ones((6, 8, 9), np.uint8))
    assert code_of(slice_refs("v", "g", image, mask, config("cc359", "volume.trim_mm=0"))[0].load) == "E_SHAPE"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.fault("D8")
def test_d8_voxels_that_are_no_numbers_fail_or_are_replaced_and_counted(
    tmp_path: Path, volume: Save, config: Configure, bad: float
) -> None:
    values = VALUES.astype(np.float32)
    values[1, 2, :3] = bad
    path = volume(tmp_path / "i.nii", values)
    with pytest.raises(CaseError, match="holds 3 NaN") as caught:
        read_windowed(path, Volume())
    assert caught.value.code == "E_NONFINITE"
    case = slice_refs("v", "g", path, None, config("cc359", "volume.trim_mm=0", "volume.non_finite=replace"))[1].load()
    assert case.image.max() > 200 and any(note.startswith("3 NaN") for note in case.notes)


@pytest.mark.fault("D8")
def test_d8_a_mask_with_nan_is_no_empty_mask(tmp_path: Path, volume: Save) -> None:
    values = np.ones(VALUES.shape, np.float32)
    values[0, 0, 0] = np.nan
    assert code_of(lambda: read_target(volume(tmp_path / "m.nii", values), None)) == "E_NONFINITE"


@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.fault("D9")
def test_d9_a_constant_volume_is_black_and_noted(tmp_path: Path, volume: Save, config: Configure, value: int) -> None:
    path = volume(tmp_path / "i.nii", np.full((6, 6, 6), value, np.int16))
    case = slice_refs("v", "g", path, None, config("cc359", "volume.trim_mm=0"))[0].load()
    assert not case.image.any() and "constant image" in case.notes


def slices_of(shape: tuple[int, int, int], marked: slice, zoom: float = 1.0) -> Slices:
    values = np.zeros(shape, bool)
    values[marked] = True
    return Slices(values, (zoom, 1.0, 1.0), np.eye(4))


def test_empty_slices_and_trimmed_ends_are_left_out() -> None:
    mask = slices_of((40, 4, 4), slice(10, 30), zoom=2.0)
    assert list(take_slices(mask, Volume(trim_mm=10), target=True).numbers) == list(range(15, 25))
    assert list(take_slices(mask, Volume(trim_mm=0), target=True).numbers) == list(range(10, 30))
    assert list(take_slices(mask, Volume(trim_mm=0, skip_empty=False), target=True).numbers) == list(range(40))
    assert list(take_slices(mask, Volume(trim_mm=70), target=False).numbers) == []


def test_slices_at_the_ends_are_counted_where_that_is_wanted() -> None:
    mask = slices_of((40, 4, 4), slice(10, 30), zoom=2.0)
    mask.values[12] = False
    taken = take_slices(mask, Volume(trim_mm=0, trim_slices=3), target=True)
    assert list(taken.numbers) == list(range(14, 27)) and taken.trimmed == 6
    none = take_slices(mask, Volume(trim_mm=0, trim_slices=10), target=True)
    assert not none.numbers and "trim_slices=10" in none.why_none(Volume(trim_mm=0, trim_slices=10))


def test_a_slice_is_windowed_by_itself_and_keeps_its_size(tmp_path: Path, volume: Save, config: Configure) -> None:
    values = np.zeros((2, 3, 4), np.int16)
    values[0] = 2  # constant: black
    values[1, :, 0], values[1, :, 1], values[1, :, 2:] = 2, 7, 12
    image, mask = volume(tmp_path / "i.nii", values), volume(tmp_path / "m.nii", np.ones(values.shape, np.uint8))
    keys = ("trim_mm=0", "resize=false", "window_of=slice", "window_low=0", "window_high=100")
    refs = slice_refs("v", "g", image, mask, config("cc359", *(f"volume.{key}" for key in keys)))
    black, grey = (ref.load().image[:, :, 0] for ref in refs)
    assert black.shape == (4, 3) and not black.any()
    assert grey[:, 0].tolist() == [255, 255, 128, 0]  # half of 255 is rounded to even; superior is on top


@given(st.integers(1, 60), st.integers(1, 80))
def test_slices_per_volume_are_even_and_reach_both_ends(length: int, wanted: int) -> None:
    mask = slices_of((70, 2, 2), slice(3, 3 + length))
    numbers = take_slices(mask, Volume(trim_mm=0, per_volume=wanted), target=True).numbers
    assert len(numbers) == len(set(numbers)) == min(length, wanted)
    assert numbers[0] == 3 and (wanted == 1 or numbers[-1] == 2 + length)
    assert len(numbers) < 3 or np.ptp(np.diff(numbers)) <= 1


@pytest.mark.fault("D5")
def test_d5_an_empty_mask_gives_no_slices_or_empty_targets(tmp_path: Path, volume: Save, config: Configure) -> None:
    image = volume(tmp_path / "i.nii", VALUES)
    mask = volume(tmp_path / "m.nii", np.zeros(VALUES.shape, np.uint8))
    assert slice_refs("v", "g", image, mask, config("cc359")) == []
    refs = slice_refs("v", "g", image, mask, config("cc359", "volume.skip_empty=false", "volume.trim_mm=0"))
    target = refs[0].load().mask
    assert len(refs) == 6 and target is not None and not target.any()


@pytest.mark.fault("D1")
def test_a_volume_whose_mask_is_damaged_is_one_case_that_fails(tmp_path: Path, volume: Save, config: Configure) -> None:
    image, mask = volume(tmp_path / "i.nii", VALUES), tmp_path / "m.nii.gz"
    mask.write_bytes(b"no volume")
    (ref,) = slice_refs("v", "g", image, mask, config("cc359"))
    assert ref.case_id == "v" and code_of(ref.load) == "E_READ"


def test_the_same_volume_is_read_once_for_its_slices_and_again_when_it_changes(
    tmp_path: Path, volume: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reads = volume(tmp_path / "i.nii", VALUES), []
    monkeypatch.setattr(volumes, "read_volume", lambda path: reads.append(path) or read_volume(path))
    first = read_windowed(path, Volume())
    assert read_windowed(path, Volume()) is first and len(reads) == 1
    volume(path, VALUES[::-1].copy())
    os.utime(path, ns=(1, 1))
    assert (read_windowed(path, Volume()).values[::-1] == first.values).all() and len(reads) == 2
    assert read_windowed(path, replace(Volume(), window_high=90.0)).values.mean() > first.values.mean()


def test_the_extent_of_a_volume_is_that_of_its_voxels(tmp_path: Path, volume: Save) -> None:
    path = volume(tmp_path / "i.nii", VALUES, "PIR", (1, 2, 3))
    grid, full = read_grid(path), read_volume(path)
    assert grid.values.shape == full.values.shape == (6, 8, 10) and grid.zooms == full.zooms
    assert (grid.affine == full.affine).all()


def headed(path: Path, at: int, content: bytes) -> Path:
    """A volume of voxels of 2 x 3 x 4 mm whose header was written over at a place."""
    nib.save(nib.Nifti1Image(VALUES, np.diag([2.0, 3, 4, 1])), path)
    raw = bytearray(path.read_bytes())
    raw[at : at + len(content)] = content
    path.write_bytes(raw)
    return path


@pytest.mark.fault("N10")
@pytest.mark.parametrize("codes", [(0, 0), (7, 0), (-1, 0)])
def test_a_volume_that_does_not_say_how_it_lies_has_a_note(tmp_path: Path, codes: tuple[int, int], capfd) -> None:
    path = headed(tmp_path / "v.nii", 252, struct.pack("<hh", *codes))
    assert read_volume(path).notes == (
        "neither qform nor sform: columns taken to go left, rows anterior, slices superior",
    )
    assert read_volume(path).zooms == pytest.approx((2, 3, 4))
    assert capfd.readouterr() == ("", ""), "what nibabel thinks of headers is nothing for the terminal"


@pytest.mark.fault("N10")
def test_a_voxel_has_no_size_of_zero(tmp_path: Path) -> None:
    none = headed(tmp_path / "v.nii", 80, struct.pack("<f", 0))
    assert read_volume(none).zooms == pytest.approx((2, 3, 4)), "the sform says it all"
    path = headed(tmp_path / "v.nii", 80, struct.pack("<f", 0))
    raw = bytearray(path.read_bytes())
    raw[252:256] = struct.pack("<hh", 1, 0)
    path.write_bytes(raw)
    assert code_of(lambda: read_grid(path)) == "E_AFFINE"
    assert read_volume(path, like=headed(tmp_path / "i.nii", 0, b"")).zooms == pytest.approx((2, 3, 4))


@pytest.mark.fault("N10")
@pytest.mark.parametrize(("axis", "askew"), [(Axis.sagittal, True), (Axis.coronal, False), (Axis.axial, False)])
def test_slices_whose_rows_and_columns_are_askew_have_no_distances(
    tmp_path: Path, config: Configure, axis: Axis, askew: bool
) -> None:
    tilted = np.diag([1.0, 1, 2, 1])
    tilted[1, 2] = 0.7  # as with a tilted gantry: slices of y and z are no rectangles
    nib.save(nib.Nifti1Image(VALUES, tilted), tmp_path / "v.nii")
    case = slice_refs("v", "g", tmp_path / "v.nii", None, config("folder", f"volume.axis={axis}"))[0].load()
    assert (case.spacing is None) == askew
    assert any("no right angles" in note for note in case.notes) == askew
