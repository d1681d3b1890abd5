"""Files that are whole or not there: every output goes through `atomic_write`."""

from __future__ import annotations

import os
from pathlib import Path

from salip_exp.errors import EnvironmentFault
from salip_exp.files import write_bytes


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
