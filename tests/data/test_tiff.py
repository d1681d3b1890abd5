"""What a TIFF promises is counted before anybody follows it, and libtiff says nothing by itself."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salip_exp._files import TooLarge
from salip_exp.data._tiff import SEGMENTS, STRIPS, TAG_BYTES, TAGS, require_fair_directory, silence_libtiff
from salip_exp.data.images import read_picture
from salip_exp.errors import CaseError


def directory(order: str, tags: int, count: int = 1, big: bool = False) -> bytes:
    """A TIFF of so many tags, each of so many bytes, and nothing behind them."""
    entry = struct.pack(f"{order}HHQQ" if big else f"{order}HHII", 700, 1, count, 0) * tags
    start = struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HI", 42, 8)
    number = struct.pack(f"{order}Q" if big else f"{order}H", tags)
    return (b"II" if order == "<" else b"MM") + start + number + entry


@pytest.mark.fault("B8")
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_more_tags_or_bytes_than_the_limit_are_told_by_number(order: str, big: bool) -> None:
    require_fair_directory(io.BytesIO(directory(order, TAGS, TAG_BYTES // TAGS, big)))
    with pytest.raises(TooLarge, match="60,000 tags, and 1,000 is the limit"):
        require_fair_directory(io.BytesIO(directory(order, 60_000, big=big)))
    with pytest.raises(TooLarge, match="67,108,865 bytes"):
        require_fair_directory(io.BytesIO(directory(order, 1, TAG_BYTES + 1, big)))


@pytest.mark.fault("B8")
def test_a_picture_is_refused_for_its_directory_before_pillow_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(directory("<", 60_000))
    exif = tmp_path / "b.png"
    Image.new("L", (4, 4)).save(exif)
    data = directory(">", 60_000)
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    exif.write_bytes(exif.read_bytes()[:33] + chunk + exif.read_bytes()[33:])
    for path in (tmp_path / "a.tif", exif):
        with pytest.raises(CaseError, match=r"60,000 tags, and 1,000 is the limit\.") as fault:
            read_picture(path)
        assert fault.value.code == "E_SIZE"


@pytest.mark.parametrize("content", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"\x89PNG\r\n"])
def test_what_is_no_directory_passes_from_its_start(content: bytes) -> None:
    stream = io.BytesIO(content)
    require_fair_directory(stream)
    assert stream.tell() == 0


def test_pictures_of_people_pass(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for name, more in (("a.tif", {"compression": "tiff_lzw"}), ("b.tif", {"big_tiff": True}), ("c.jpg", {})):
        exif = Image.Exif()
        exif[0x010E] = "a description"
        picture.save(tmp_path / name, exif=exif, **more)
        assert read_picture(tmp_path / name)[0].shape == (8, 8, 3)


DAMAGED = """
import sys
from pathlib import Path
from salip_exp.data.images import read_picture
from salip_exp.errors import CaseError
try:
    read_picture(Path(sys.argv[1]))
except CaseError as error:
    print(error.code)
"""


@pytest.mark.fault("N5")
@pytest.mark.skipif(not silence_libtiff(), reason="Pillow has no libtiff of its own here")
def test_libtiff_prints_nothing_about_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(path, compression="tiff_adobe_deflate")
    data = bytearray(path.read_bytes())
    data[100:140] = bytes(40)
    path.write_bytes(data)
    ended = subprocess.run([sys.executable, "-c", DAMAGED, path], capture_output=True, text=True, check=True)
    assert (ended.stdout.strip(), ended.stderr) == ("E_READ", "")


def segments(path: Path, *contents: tuple[int, bytes]) -> Path:
    """A JPEG with more segments before its own."""
    Image.new("L", (8, 8)).save(path)
    raw = path.read_bytes()
    added = [bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content for marker, content in contents]
    path.write_bytes(raw[:2] + b"".join(added) + raw[2:].replace(b"\xff\xe0", b"\xff\xef", 1))  # no JFIF: it has a dpi
    return path


def within(tag: int, inner: bytes) -> bytes:
    """EXIF data with one tag that names a directory within."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", tag, 4, 1, 26) + bytes(4) + inner


@pytest.mark.fault("B8")
@pytest.mark.parametrize("kind", ["exif", "more exif", "pictures", "within", "segments"])
def test_a_jpeg_is_refused_for_what_stands_before_its_pixels_before_pillow_reads_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, exif = directory(">", 5000), b"Exif\0\0"
    contents = {
        "exif": [(0xE1, exif + many)],
        "more exif": [(0xE1, exif + many[:20]), (0xE1, exif + many[20:])],  # Pillow joins them
        "pictures": [(0xE2, b"MPF\0" + many)],
        "within": [(0xE1, exif + within(34665, directory("<", 5000)[8:]))],
        "segments": [(0xFE, b"")] * SEGMENTS,
    }
    path = segments(tmp_path / "a.jpg", *contents[kind])
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow saw it"))
    with pytest.raises(CaseError, match=r"5,000 tags|4,096 segments") as fault:
        read_picture(path)
    assert fault.value.code == "E_SIZE"


def test_a_jpeg_with_many_notes_is_read(tmp_path: Path) -> None:
    path = segments(tmp_path / "a.jpg", *[(0xE1, b"Exif\0\0" + within(34665, b"\0\0" * 3)), (0xFE, b"note" * 999)] * 99)
    assert read_picture(path)[0].shape == (8, 8, 3)


@pytest.mark.fault("B8")
@pytest.mark.parametrize("tag", [273, 324])
def test_strips_and_tiles_are_counted_before_pillow_makes_objects_of_them(tmp_path: Path, tag: int) -> None:
    for count, said in ((STRIPS, None), (STRIPS + 1, "262,145 strips or tiles, and 262,144 is the limit")):
        content = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", tag, 4, count, 0) + bytes(4)
        if said is None:
            require_fair_directory(io.BytesIO(content))
            continue
        (tmp_path / "a.tif").write_bytes(content)
        with pytest.raises(CaseError, match=said):
            read_picture(tmp_path / "a.tif")
