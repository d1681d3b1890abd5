"""What DICOM says of its pixels, written by pydicom and worked out here by the formulas of the standard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.pixels
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset as Tags
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from salip_exp.config import Volume
from salip_exp.data._dicom import read_single
from salip_exp.data.volumes import read_volume
from salip_exp.errors import CaseError

RNG = np.random.default_rng(9)
STORED = RNG.integers(0, 4096, (10, 12)).astype(np.uint16)
TABLE = (65535 * (np.arange(4096) / 4095) ** 3).astype(np.uint16)
PLACED = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.5, 0.7]}


def write(path: Path, pixels: NDArray[Any], **tags: Any) -> Path:
    """A file of stored numbers (rows, columns[, 3])."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = CTImageStorage, generate_uid(), "1.2.3"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = pixels.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def stretched(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Greys from one number to another."""
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255


def same(path: Path, wanted: NDArray[Any]) -> bool:
    """Whether a picture is what it is to be, to a grey."""
    shown, *_ = read_single(path, Volume())
    return bool(np.abs(shown.astype(int) - (wanted if wanted.ndim == 3 else wanted[..., None])).max() <= 1)


def looked_up(bits: int) -> dict[str, Any]:
    """A table for 4096 numbers, of entries of so many bits."""
    table = Tags()
    table.LUTDescriptor = [4096, 0, bits]
    table.add_new("LUTData", "US", (TABLE >> (16 - bits)).tolist())
    return {"VOILUTSequence": Items([table])}


LOW = STORED.min(), STORED.max()
SHOWN: dict[str, tuple[dict[str, Any], Callable[[], NDArray[Any]]]] = {
    "a table of 16 bits": (looked_up(16), lambda: TABLE[STORED] / 65535 * 255),
    "a table of 8 bits": (looked_up(8), lambda: TABLE[STORED] >> 8),
    "a sigmoid": (
        {"WindowCenter": 1000, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"},
        lambda: 255 / (1 + np.exp(-4 * (STORED - 1000.0) / 400)),
    ),
    "polarity": ({"PresentationLUTShape": "INVERSE"}, lambda: 255 - stretched(STORED, *LOW)),
    "polarity, twice": (
        {"PresentationLUTShape": "INVERSE", "PhotometricInterpretation": "MONOCHROME1"},
        lambda: 255 - stretched(STORED, *LOW),
    ),
    "identity": ({"PresentationLUTShape": "IDENTITY"}, lambda: stretched(STORED, *LOW)),
}


@pytest.mark.fault("N11")
@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_is_shown_as_its_header_says(tmp_path: Path, name: str) -> None:
    tags, wanted = SHOWN[name]
    assert same(write(tmp_path / "a.dcm", STORED, **tags), wanted())


@pytest.mark.fault("N11")
@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_has_entries_of_8_or_16_bits(tmp_path: Path, bits: int) -> None:
    table = RNG.integers(0, 1 << bits, (3, 256)).astype(np.uint8 if bits == 8 else np.uint16)
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, entries in zip(("Red", "Green", "Blue"), table, strict=True):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        tags[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    stored = (STORED >> 4).astype(np.uint8)
    assert same(write(tmp_path / "a.dcm", stored, **tags), np.moveaxis(table[:, stored] >> (bits - 8), 0, 2))


@pytest.mark.fault("N11")
@pytest.mark.parametrize(
    ("padding", "limit", "kind"), [(-2000, None, np.int16), (63536, None, np.int16), (-3000, -2000, np.int16)]
)
def test_what_fills_up_a_picture_does_not_stretch_it(tmp_path: Path, padding: int, limit: Any, kind: type) -> None:
    stored = (STORED.astype(np.int64) // 2 - 1024).astype(kind)
    stored[:3] = -2000  # also as programs write it that take it for a number without a sign
    tags = {"PixelPaddingRangeLimit": limit} if limit is not None else {}
    path = write(tmp_path / "a.dcm", stored, **tags)
    assert same(path, stretched(stored, -2000, stored.max())), "nothing says so yet"
    data = {"PixelPaddingValue": padding, **tags}
    wanted = stretched(stored, stored[3:].min(), stored.max())
    assert same(_with(path, stored, data), wanted)
    inverted = _with(path, stored, data | {"PhotometricInterpretation": "MONOCHROME1"})
    assert same(inverted, np.where(stored == -2000, 0, 255 - wanted))


def _with(path: Path, stored: NDArray[Any], tags: dict[str, Any]) -> Path:
    """A file whose padding has the type that its value fits, as careless programs write it."""
    rest = {name: value for name, value in tags.items() if not name.startswith("PixelPadding")}
    write(path, stored, **rest)
    data = dcmread(path)
    for name in tags.keys() - rest.keys():
        data.add_new(name, "US" if tags[name] > 0 else "SS", tags[name])
    data.save_as(path)
    return path


@pytest.mark.fault("N11")
def test_padding_of_a_volume_is_its_darkest_or_zero_where_nothing_is_below(tmp_path: Path) -> None:
    for number in range(3):
        slice_ = np.array([[-3000, -1000, 5], [-3000, -3000, 7]], np.int16)
        write(
            tmp_path / "s" / f"{number}.dcm", slice_ + 1000 * (number == 2) * (slice_ > -3000), **PLACED,
            ImagePositionPatient=[0, 0, 2 * number], PixelPaddingValue=-3000,
        )  # fmt: skip
    values = read_volume(tmp_path / "s" / "0.dcm").values
    assert sorted(set(values[..., 0].ravel())) == [-1000, 5, 7]
    assert sorted(set(values[..., 2].ravel())) == [0, 1005, 1007]


@pytest.mark.fault("N11")
def test_bits_that_do_not_begin_at_the_lowest_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", (STORED << 4).astype(np.uint16), BitsStored=12, HighBit=15)
    with pytest.raises(CaseError, match="its 12 bits end at bit 15"):
        read_single(path, Volume())


@pytest.mark.fault("N11")
@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "E_FORMAT"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]}, "E_AFFINE"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.866, 0]}, "E_AFFINE"),
        ({"FrameOfReferenceUID": "1.2.4"}, None),
    ],
)
def test_slices_are_a_volume_where_they_say_the_same(tmp_path: Path, tags: dict[str, Any], code: str | None) -> None:
    for number in range(4):
        own = tags if number > 1 or "ImageOrientationPatient" in tags else {}
        place = {**PLACED, "ImagePositionPatient": [0, 0, 2 * number], **own}
        write(tmp_path / f"{number}.dcm", STORED, **place)
    if code is None:  # two volumes
        assert read_volume(tmp_path / "0.dcm").values.shape[2] == read_volume(tmp_path / "3.dcm").values.shape[2] == 2
        return
    with pytest.raises(CaseError) as caught:
        read_volume(tmp_path / "0.dcm")
    assert caught.value.code == code


def attempt(seed: int, path: Path) -> None:
    """A picture of any depth, sign, slope, polarity, padding and window, against the formulas of the standard."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["uint8", "uint16", "int16"])
    bits = 8 if kind == "uint8" else int(rng.integers(9, 17))
    low, high = (0, 1 << bits) if kind[0] == "u" else (-(1 << (bits - 1)), 1 << (bits - 1))
    stored = rng.integers(low, high, (int(rng.integers(2, 20)), int(rng.integers(2, 20)))).astype(kind)
    slope, intercept = float(rng.choice([1, 0.5, -2])), float(rng.choice([0, -1024]))
    tags: dict[str, Any] = {"BitsStored": bits, "HighBit": bits - 1}
    tags |= {"RescaleSlope": slope, "RescaleIntercept": intercept} if rng.integers(2) else {}
    said = stored * slope + intercept if "RescaleSlope" in tags else stored.astype(np.float64)
    inverted = bool(rng.integers(2))
    tags |= {"PhotometricInterpretation": "MONOCHROME1"} if inverted and rng.integers(2) else {}
    tags |= {"PresentationLUTShape": "INVERSE" if inverted else "IDENTITY"} if "Photo" not in str(tags) else {}
    if rng.integers(2):
        padding = int(rng.choice(stored.ravel()))
        tags["PixelPaddingValue"] = padding
        rest = said[stored != padding]
        if rest.size:
            said = np.where(stored == padding, rest.max() if inverted else min(0.0, rest.min()), said)
    centre, width = float(rng.integers(-500, 500)), float(rng.integers(2, 2000))
    function = str(rng.choice(["none", "LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    if function != "none":
        tags |= {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
    wanted = {
        "none": lambda: stretched(said, said.min(), said.max()) if np.ptp(said) else np.zeros_like(said),
        "LINEAR": lambda: stretched(said, centre - width / 2, centre + width / 2 - 1),
        "LINEAR_EXACT": lambda: stretched(said, centre - width / 2, centre + width / 2),
        "SIGMOID": lambda: 255 / (1 + np.exp(np.clip(-4 * (said - centre) / width, -700, 700))),
    }[function]()
    assert same(write(path, stored, **tags), 255 - wanted if inverted else wanted), tags


@pytest.mark.fault("N11")
def test_whatever_a_header_says_of_its_pixels_is_obeyed(tmp_path: Path) -> None:
    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 1 << 30))
    def check(seed: int) -> None:
        attempt(seed, tmp_path / "a.dcm")

    check()


@pytest.mark.fault("B8")
def test_frames_of_colours_are_counted_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.zeros((4, 5, 3), np.uint8)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    assert same(write(tmp_path / "a.dcm", colours, **tags), colours)
    path = write(tmp_path / "b.dcm", colours, NumberOfFrames=60_000, **tags)
    monkeypatch.setattr(pydicom.pixels, "pixel_array", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(CaseError, match="holds several pictures") as caught:
        read_single(path, Volume())
    assert caught.value.code == "E_DIMS"
