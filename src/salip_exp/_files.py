"""Files: written so that nobody ever sees half of one, and the folder of what is kept between runs."""

from __future__ import annotations

import io
import json
import os
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_path

from salip_exp.errors import EnvironmentFault

Buffer = bytes | memoryview
SMALL = 16 << 20
"""Bytes of the largest table, list, record or text that is read whole; none that is meant for it comes near."""


def cache_folder() -> Path:
    """Folder of everything kept between runs: `SALIP_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("SALIP_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("salip_exp", appauthor=False)


def process_lock(path: Path, timeout_s: float = -1) -> BaseFileLock:
    """A lock between processes that dies with its process, however that ends; not yet acquired.

    filelock's own stand-in where a file system has no locks, a mark in the folder, would outlive a killed process and
    keep everybody out. It is not wanted here: acquiring then raises.

    Args:
        path: of the lock file; its folder must exist.
        timeout_s: how long `acquire` waits; -1 for ever.

    Raises:
        OSError: on acquiring, where the file cannot be made or the file system has no locks; `filelock.Timeout`, one
            of its kinds, when another process holds the lock for too long.
    """
    return FileLock(path, timeout=timeout_s, fallback_to_soft=False)


def write_bytes(path: Path, data: bytes | Sequence[Buffer], sync: bool = True) -> None:
    """Write a file under a name of its own in the same folder, then give it its final name in one step.

    Args:
        path: of the file; folders that are missing are made.
        data: what it holds then, whole or in pieces.
        sync: whether it must outlast a power cut from here on; without, it may be damaged after one.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("wb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def prove_writable(folder: Path) -> None:
    """Write a byte to a folder that is there, and take it away again; raises OSError where that cannot be done."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(b"room for a byte")
        stream.flush()
        os.fsync(stream.fileno())


def read_small(path: Path) -> bytes:
    """The bytes of a file that is meant to be small.

    Raises:
        ValueError: it is larger than SMALL; no more than that is read.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(SMALL + 1)
    if len(data) > SMALL:
        raise ValueError(f"it is larger than {SMALL >> 20} MB")
    return data


def from_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: it is no JSON, or is nested deeper than Python's reader follows.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A grey (H, W) or RGB (H, W, 3) picture as the bytes of a PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def atomic_write(path: Path, content: bytes | str) -> None:
    """Give the file its new content in one step; text is written as UTF-8, what UTF-8 lacks as escapes.

    A reader, or the next run after a crash, sees the old content or the new one, never a part.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written; what was there before is untouched.
    """
    try:
        write_bytes(path, content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        _sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFault(
            f"{path} cannot be written ({error.strerror or error}): make room or get access; "
            "the same command with resume=true continues"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself last through a power cut; Windows cannot open folders and does not need it."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
