"""Pictures and masks from files of every kind, and from files that are no pictures."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from salip_exp.data import images
from salip_exp.data._labels import target
from salip_exp.data.images import read_levels, read_mask, read_picture
from salip_exp.errors import CaseError

Save = Callable[..., Path]
RAMP = np.linspace(0, 255, 12 * 16).round().astype(np.uint8).reshape(12, 16)
DISC = cv2.circle(np.zeros((40, 40), np.uint8), (20, 18), 11, 1, -1)


def refused(code: str, path: Path, read: Callable[[Path], object] = read_picture) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(CaseError) as caught:
        read(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def claiming(path: Path, width: int, height: int) -> Path:
    """A PNG of few bytes whose header promises any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def test_a_grey_picture_becomes_three_equal_channels(tmp_path: Path, picture: Save) -> None:
    pixels, notes = read_picture(picture(tmp_path / "a.png", RAMP))
    assert pixels.dtype == np.uint8 and pixels.shape == (12, 16, 3) and notes == ()
    assert all((pixels[:, :, channel] == RAMP).all() for channel in range(3))


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_colours_come_as_red_green_blue(tmp_path: Path, picture: Save, ending: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    assert (read_picture(picture(tmp_path / f"a.{ending}", colours))[0] == colours).all()


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.fault("D2")
def test_d2_a_truncated_picture_is_refused_by_name(tmp_path: Path, picture: Save, ending: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64)).astype(np.uint8)
    path = picture(tmp_path / f"a.{ending}", noise)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused("E_READ", path)
    refused("E_READ", path, read_mask)


@pytest.mark.parametrize(
    "content", [b"", b"%!PS-Adobe-3.0 EPSF\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n", b"II*\0"]
)
@pytest.mark.fault("D2")
def test_d2_what_is_no_picture_is_refused_whatever_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert "get the file again" in refused("E_READ", path)


@pytest.mark.fault("D2")
def test_d2_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    refused("E_READ", tmp_path / "gone.png")


@pytest.mark.fault("D2")
def test_d2_a_damaged_picture_never_raises_anything_else(tmp_path: Path, picture: Save) -> None:
    rng = np.random.default_rng(2)
    for ending in ("png", "jpg", "tif", "bmp"):
        whole = bytearray(picture(tmp_path / f"a.{ending}", RAMP).read_bytes())
        for number in range(30):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 4):
                damaged[place] = rng.integers(256)
            path = tmp_path / f"{number}.{ending}"
            path.write_bytes(damaged)
            with contextlib.suppress(CaseError):
                pixels, _ = read_picture(path)
                assert pixels.dtype == np.uint8 and pixels.ndim == 3


@pytest.mark.parametrize("side", [9_700, 12_000, 60_000])
@pytest.mark.fault("D2")
def test_d2_a_decompression_bomb_is_refused_unread(tmp_path: Path, side: int) -> None:
    path = claiming(tmp_path / "bomb.png", side, side)
    refused("E_SIZE" if side > 10_000 else "E_READ", path)


def test_a_file_of_several_pictures_is_refused(tmp_path: Path, picture: Save) -> None:
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    path = picture(tmp_path / "a.tif", frames[0], save_all=True, append_images=frames[1:])
    assert "several pictures" in refused("E_DIMS", path)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.fault("D13")
def test_d13_twelve_bits_in_sixteen_equal_the_eight_bit_picture(tmp_path: Path, picture: Save, ending: str) -> None:
    deep = np.linspace(0, 4095, 12 * 16).round().astype(np.uint16).reshape(12, 16)
    pixels, notes = read_picture(picture(tmp_path / f"a.{ending}", deep))
    assert np.abs(pixels[:, :, 0].astype(int) - RAMP).max() <= 1
    assert notes == ("windowed from 16 bit",)


@pytest.mark.fault("D13")
def test_d13_sixteen_bit_colours_are_not_cut_to_their_upper_byte(tmp_path: Path) -> None:
    deep = np.linspace(0, 4095, 12 * 16 * 3).round().astype(np.uint16).reshape(12, 16, 3)
    cv2.imwrite(str(tmp_path / "a.png"), deep[:, :, ::-1])
    pixels, notes = read_picture(tmp_path / "a.png")
    assert np.abs(pixels.astype(float) - deep / 4095 * 255).max() <= 1
    assert notes == ("windowed from 16 bit",)


@pytest.mark.fault("D8")
def test_d8_nan_pixels_are_refused(tmp_path: Path, picture: Save) -> None:
    values = np.ones((6, 6), np.float32)
    values[2, 3] = np.nan
    path = picture(tmp_path / "a.tif", values)
    refused("E_NONFINITE", path)
    refused("E_NONFINITE", path, read_mask)


@pytest.mark.fault("D9")
def test_d9_a_constant_deep_picture_is_black(tmp_path: Path, picture: Save) -> None:
    assert not read_picture(picture(tmp_path / "a.png", np.full((6, 6), 900, np.uint16)))[0].any()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.fault("D14")
def test_d14_modes_without_alpha_are_converted_without_a_word(tmp_path: Path, picture: Save, mode: str) -> None:
    pixels, notes = read_picture(picture(tmp_path / "a.png", Image.fromarray(RAMP).convert(mode)))
    assert pixels.shape == (12, 16, 3) and pixels.max() == 255 and notes == ()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.fault("D14")
def test_d14_alpha_is_dropped_with_a_note(tmp_path: Path, picture: Save, mode: str) -> None:
    image = Image.fromarray(RAMP).convert(mode)
    image.putalpha(7)
    pixels, notes = read_picture(picture(tmp_path / "a.png", image))
    assert (pixels[:, :, 1] == RAMP).all() and notes == ("alpha dropped",)


@pytest.mark.fault("D14")
def test_d14_a_palette_with_transparent_colours_is_converted_with_a_note(tmp_path: Path, picture: Save) -> None:
    image = Image.fromarray(RAMP).convert("P")
    pixels, notes = read_picture(picture(tmp_path / "a.png", image, transparency=bytes(range(256))))
    assert (pixels[:, :, 0] == RAMP).all() and notes == ("alpha dropped",)


@pytest.mark.parametrize("ending", ["jpg", "tif"])
@pytest.mark.fault("D14")
def test_d14_cmyk_is_converted(tmp_path: Path, picture: Save, ending: str) -> None:
    smooth = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (16, 1))
    pixels, _ = read_picture(picture(tmp_path / f"a.{ending}", Image.fromarray(smooth).convert("RGB").convert("CMYK")))
    assert np.abs(pixels[:, :, 0].astype(int) - smooth).max() < 12


@pytest.mark.parametrize("top", [1, 2, 200, 255])
@pytest.mark.fault("D6")
def test_d6_two_values_are_background_and_target(tmp_path: Path, picture: Save, top: int) -> None:
    assert (read_mask(picture(tmp_path / "m.png", DISC * np.uint8(top)))[0] == (DISC > 0)).all()


@pytest.mark.fault("D6")
def test_d6_sixteen_bit_masks_are_masks(tmp_path: Path, picture: Save) -> None:
    assert (read_mask(picture(tmp_path / "m.png", DISC.astype(np.uint16) * 65535))[0] == (DISC > 0)).all()


@pytest.mark.fault("D6")
def test_d6_grey_edges_are_cut_at_one_half(tmp_path: Path, picture: Save) -> None:
    soft = cv2.resize(DISC * np.uint8(255), (27, 27), interpolation=cv2.INTER_AREA)
    assert len(np.unique(soft)) > 10
    assert (read_mask(picture(tmp_path / "m.png", soft))[0] == (soft >= 128)).all()


@pytest.mark.fault("D6")
def test_d6_an_edge_of_few_greys_is_no_label(tmp_path: Path, picture: Save) -> None:
    soft = cv2.resize(DISC * np.uint8(255), (20, 20), interpolation=cv2.INTER_AREA)
    assert len(np.unique(soft)) <= 8
    assert (read_mask(picture(tmp_path / "m.png", soft))[0] == (soft >= 128)).all()


@pytest.mark.parametrize("levels", [(1, 2), (3, 7, 9), (128, 255), (85, 170, 255)])
@pytest.mark.fault("D6")
def test_d6_several_labels_are_refused_until_one_is_chosen(
    tmp_path: Path, picture: Save, levels: tuple[int, ...]
) -> None:
    labels = np.zeros((30, 10 * len(levels)), np.uint8)
    for number, level in enumerate(levels):
        labels[5:20, 10 * number + 2 : 10 * number + 9] = level
    path = picture(tmp_path / "m.png", labels)
    message = refused("E_LABELS", path, read_mask)
    assert all(str(level) in message for level in levels) and "dataset.files.label=N" in message
    assert (read_mask(path, levels[0])[0] == (labels == levels[0])).all()


@pytest.mark.fault("D6")
def test_d6_a_coloured_palette_holds_labels(tmp_path: Path, picture: Save) -> None:
    labels = np.kron(np.array([[0, 1], [2, 0]], np.uint8), np.ones((5, 5), np.uint8))
    image = Image.fromarray(labels).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    path = picture(tmp_path / "m.png", image)
    refused("E_LABELS", path, read_mask)
    assert (read_mask(path, 2)[0] == (labels == 2)).all()


@pytest.mark.fault("D6")
def test_d6_a_grey_palette_in_any_order_is_its_greys(tmp_path: Path, picture: Save) -> None:
    image = Image.fromarray(1 - DISC).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    assert (read_mask(picture(tmp_path / "m.png", image))[0] == (DISC > 0)).all()


@pytest.mark.fault("D6")
def test_d6_one_colour_on_black_is_a_mask_and_several_are_not(tmp_path: Path, picture: Save) -> None:
    colours = np.zeros((40, 40, 3), np.uint8)
    colours[..., 2] = DISC * np.uint8(255)
    assert (read_mask(picture(tmp_path / "one.png", colours))[0] == (DISC > 0)).all()
    colours[:5, :5] = 0, 255, 0
    assert "several colours" in refused("E_LABELS", picture(tmp_path / "two.png", colours), read_mask)


@pytest.mark.fault("D14")
def test_d14_what_is_transparent_in_a_mask_is_background(tmp_path: Path, picture: Save) -> None:
    image = Image.new("L", (40, 40), 255)
    image.putalpha(Image.fromarray(DISC * np.uint8(255)))
    assert (read_mask(picture(tmp_path / "m.png", image))[0] == (DISC > 0)).all()


@pytest.mark.fault("D5")
def test_d5_an_empty_mask_is_empty(tmp_path: Path, picture: Save) -> None:
    assert not read_mask(picture(tmp_path / "m.png", DISC * np.uint8(0)))[0].any()


def test_a_full_mask_is_full() -> None:
    assert target(np.full((4, 4), 255, np.uint8), Path("m.png"))[0].all()


def test_probabilities_are_cut_at_half_of_their_maximum() -> None:
    share = np.linspace(0, 0.9, 100).reshape(10, 10)
    assert (target(share, Path("m.nii"))[0] == (share > 0.45)).all()


@pytest.mark.fault("D2", "C2")
def test_the_limit_on_pixels_is_checked_before_anything_is_decoded(
    tmp_path: Path, picture: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "a.png", RAMP)
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert "16 x 12" in refused("E_SIZE", path)


@pytest.mark.fault("N8")
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_adobe_deflate"}])
def test_a_tiff_that_promises_more_rows_than_its_strips_hold_is_no_picture_with_a_black_part(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((20, 24), 200, np.uint8)).save(path, **options)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x01\x01\x04\0") if b"\x01\x01\x04\0" in data else data.index(b"\x01\x01\x03\0")
    data[at + 8 : at + 10] = (400).to_bytes(2, "little")
    path.write_bytes(data)
    for read in (read_picture, read_mask):
        with pytest.raises(CaseError) as caught:
            read(path)
        assert caught.value.code == "E_READ"


@pytest.mark.fault("N3")
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("lowest", [True, False])
def test_the_transparent_grey_of_a_png_is_one_of_its_own_depth(tmp_path: Path, bits: int, lowest: bool) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    most = (1 << bits) - 1
    clear = 0 if lowest else most
    levels = np.repeat(np.arange(16) % (most + 1), 8 // bits)[: 128 // bits].reshape(2, -1)
    levels[0, : 8 // bits] = clear
    packed = (levels.reshape(2, -1, 8 // bits) << np.arange(8 - bits, -1, -bits)).sum(axis=2).astype(np.uint8)
    header = struct.pack(">IIBBBBB", levels.shape[1], 2, bits, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = ((b"IHDR", header), (b"tRNS", struct.pack(">H", clear)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))
    wanted = (levels != 0) & (levels != clear)
    if not wanted.any():
        assert "transparency alone" in refused("E_LABELS", path, read_mask)
        return
    kept = int(levels[wanted].max()) * 255 // most
    assert (read_mask(path, kept)[0] == (wanted & (levels == levels[wanted].max()))).all()
    assert not read_mask(path, 255 if clear else 1)[0][levels == clear].any()


@pytest.mark.fault("N2")
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("deep", [False, True])
def test_what_was_turned_has_a_note(tmp_path: Path, ending: str, orientation: int, deep: bool) -> None:
    path, exif = tmp_path / f"a.{ending}", Image.Exif()
    exif[0x0112] = orientation
    if deep and ending == "jpg":
        return
    Image.fromarray((DISC * np.uint16(9000)) if deep else DISC * np.uint8(255)).save(path, exif=exif)
    assert ("turned as its EXIF data say" in read_picture(path)[1]) == (orientation > 1)
    assert ("the mask turned as its EXIF data say" in read_mask(path)[1]) == (orientation > 1)
    assert ("the mask turned as its EXIF data say" in read_levels(path)[1]) == (orientation > 1)
