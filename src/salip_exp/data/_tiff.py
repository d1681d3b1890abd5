"""What is done about TIFF before Pillow reads one: its directory, which EXIF data have as well, is counted before
anybody follows it, and libtiff, which would write to the terminal by itself, is silenced.
"""

from __future__ import annotations

import ctypes
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
PAGES = 1 << 16
"""Directories of a file of many pages."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by the number of its type."""
_BIG = 43
"""Version of a BigTIFF, whose numbers are longer."""


def require_fair_directory(stream: BinaryIO) -> None:
    """Count what the first directory of a TIFF promises; what is no TIFF passes. The stream stands at its start again.

    Raises:
        TooLarge: more than TAGS tags, or more than TAG_BYTES bytes in them.
    """
    start = stream.read(16)
    if len(start) == 16 and start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        order = "little" if start[:1] == b"I" else "big"
        _require_fair(stream, start, order, _first_directory(start, order))
    stream.seek(0)


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


def _require_fair(stream: BinaryIO, start: bytes, order: str, at: int) -> int:
    """Count what the directory at a place promises, and say where the next one is; 0 after the last."""
    big = _number(start[2:4], order) == _BIG
    stream.seek(at)
    tags = _number(stream.read(8 if big else 2), order)
    if tags > TAGS:
        raise TooLarge(f"its directory has {tags:,} tags, and {TAGS:,} is the limit")
    width, counted = (20, 12) if big else (12, 8)
    entries = [stream.read(width) for _ in range(tags)]
    taken = sum(_SIZES.get(_number(each[2:4], order), 1) * _number(each[4:counted], order) for each in entries)
    if taken > TAG_BYTES:
        raise TooLarge(f"its tags promise {taken:,} bytes, and {TAG_BYTES:,} is the limit")
    return _number(stream.read(8 if big else 4), order)


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
