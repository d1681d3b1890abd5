"""What is done about TIFF before Pillow reads one: its directory, which EXIF data have as well, is counted before
anybody follows it, also within a JPEG, and libtiff, which would write to the terminal by itself, is silenced.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import PIL

from salip_exp._files import TooLarge

TAGS = 1000
"""Of one directory; files of scanners and microscopes have a hundred."""
TAG_BYTES = 64 << 20
"""That the tags of one directory take together; a profile or a description has some."""
STRIPS = 1 << 18
"""Strips or tiles of a picture, of each of which Pillow makes an object."""
_PLACES = {273, 324}
"""Tags with the places of strips and tiles."""
PAGES = 1 << 16
"""Directories of a file of many pages."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by the number of its type."""
_WITHIN = {34665, 34853, 40965}
"""Tags that name directories of their own, which Pillow follows: of EXIF, GPS, and of EXIF's interoperability."""
_DEEP = 2
"""Such directories below the first one."""
JPEG_HEAD, SEGMENTS = 64 << 20, 4096
"""Bytes of a JPEG before its pixels, and the segments they are in; profiles and notes take some hundreds."""
EXIF, _PICTURES = b"Exif\0\0", b"MPF\0"
"""What stands before EXIF data and before a list of more pictures, both of which are a TIFF without pixels."""
_BIG = 43
"""Version of a BigTIFF, whose numbers are longer."""


def require_fair_directory(stream: BinaryIO) -> None:
    """Count what the first directory of a TIFF promises, and those within it; what is no TIFF passes. The stream stands
    at its start again.

    Raises:
        TooLarge: more than TAGS tags, more than TAG_BYTES bytes in them, or more than STRIPS pieces of a picture.
    """
    start = stream.read(16)
    if len(start) == 16 and start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        order = "little" if start[:1] == b"I" else "big"
        _require_fair(stream, start, order, _first_directory(start, order))
    stream.seek(0)


def require_fair_segments(stream: BinaryIO) -> None:
    """The same of the directories in the segments of a JPEG; what is none passes.

    Raises:
        TooLarge: more than SEGMENTS or JPEG_HEAD bytes before its pixels, or as from `require_fair_directory`.
    """
    exif, pictures = bytearray(), bytearray()
    for marker, content in _segments(stream):
        if marker == 0xE1 and content.startswith(EXIF):
            exif += content.removeprefix(EXIF)
        elif marker == 0xE2 and content.startswith(_PICTURES):
            pictures += content.removeprefix(_PICTURES)
    for each in (exif, pictures):
        require_fair_directory(io.BytesIO(each))
    stream.seek(0)


def _segments(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Markers and contents of a JPEG up to its first pixels."""
    if stream.read(2) != b"\xff\xd8":
        return
    head, at = stream.read(JPEG_HEAD), 0
    for _ in range(SEGMENTS):
        at = head.find(b"\xff", at)
        if not 0 <= at < len(head) - 1:
            if len(head) == JPEG_HEAD:
                raise TooLarge(f"its pixels begin after {JPEG_HEAD:,} bytes, which is the limit")
            return
        marker = head[at + 1]
        if marker == 0xDA:
            return
        long = int.from_bytes(head[at + 2 : at + 4], "big")
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD9:  # stuffing, and markers without a content
            at += 1
            continue
        yield marker, head[at + 4 : at + 2 + long]
        at += 2 + long
    raise TooLarge(f"it has more than {SEGMENTS:,} segments before its pixels, which is the limit")


def require_fair_pages(stream: BinaryIO) -> None:
    """The same of all directories of a chain, which is to end; the stream stands at its start again.

    Raises:
        TooLarge: more than PAGES of them, or as from `require_fair_directory`.
        ValueError: the chain goes in a circle, or it is no TIFF.
    """
    start = stream.read(16)
    if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise ValueError("it is no TIFF")
    order = "little" if start[:1] == b"I" else "big"
    seen: set[int] = set()
    after = _first_directory(start, order)
    while after:
        if after in seen:
            raise ValueError("its pages go in a circle")
        seen.add(after)
        if len(seen) > PAGES:
            raise TooLarge(f"it has more than {PAGES:,} pages, which is the limit")
        after = _require_fair(stream, start, order, after)
    stream.seek(0)


def _first_directory(start: bytes, order: str) -> int:
    return _number(start[8:16] if _number(start[2:4], order) == _BIG else start[4:8], order)


def _number(raw: bytes, order: str) -> int:
    return int.from_bytes(raw, "little" if order == "little" else "big")


def _require_fair(stream: BinaryIO, start: bytes, order: str, at: int, deep: int = _DEEP) -> int:
    """Count what the directory at a place, or one within it, promises, and say where the next is; 0: nowhere."""
    big = _number(start[2:4], order) == _BIG
    stream.seek(at)
    tags = _number(stream.read(8 if big else 2), order)
    if tags > TAGS:
        raise TooLarge(f"its directory has {tags:,} tags, and {TAGS:,} is the limit")
    width, counted = (20, 12) if big else (12, 8)
    entries = [stream.read(width) for _ in range(tags)]
    taken = sum(_SIZES.get(_number(each[2:4], order), 1) * _number(each[4:counted], order) for each in entries)
    pieces = max(
        (_number(each[4:counted], order) for each in entries if _number(each[:2], order) in _PLACES), default=0
    )
    if pieces > STRIPS:
        raise TooLarge(f"it has {pieces:,} strips or tiles, and {STRIPS:,} is the limit")
    if taken > TAG_BYTES:
        raise TooLarge(f"its tags promise {taken:,} bytes, and {TAG_BYTES:,} is the limit")
    following = _number(stream.read(8 if big else 4), order)
    for tag, place in {_number(each[:2], order): each[counted : counted + 4] for each in entries}.items():
        if tag in _WITHIN and deep:
            _require_fair(stream, start, order, _number(place, order), deep - 1)
    return following


@lru_cache(maxsize=1)
def silence_libtiff() -> bool:
    """Keep libtiff from writing what it thinks of damaged files to stderr: the reader's error says it in one line.

    Returns:
        Whether Pillow's own libtiff was found; one of the system's is left as it is.
    """
    home = Path(PIL.__file__).parent
    for library in (*home.parent.glob("pillow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")):
        with suppress(OSError, AttributeError):
            found = ctypes.CDLL(str(library))
            found.TIFFSetErrorHandler(None)
            found.TIFFSetWarningHandler(None)
            return True
    return False
