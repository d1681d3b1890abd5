"""Phantoms on disk: drawn once, in the native layouts, and read by the readers of the real data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from salip_exp.config import Layout, Phantom
from salip_exp.data.phantoms import brain, chest, head
from salip_exp.errors import EnvironmentFault
from salip_exp.files import cache_folder

VERSION = 2
"""Raise it when the pixels of any phantom change."""
GROUPS = 6


def _write_brains(root: Path, n: int, seed: int) -> None:
    brain.write_cc359(root, n // GROUPS, seed)


WRITERS: dict[Layout, Callable[[Path, int, int], None]] = {
    Layout.cc359: _write_brains,
    Layout.hc18: head.write_hc18,
    Layout.xray: chest.write_xray,
}


def phantom_root(layout: Layout, config: Phantom) -> Path:
    """The folder of a phantom data set, drawn now if it is not there.

    It is drawn beside its place and moved there whole, so that a process that is killed, or two that draw at once,
    never leave half a data set.

    Raises:
        EnvironmentFault: the cache cannot be written.
    """
    home = cache_folder() / "phantoms"
    place = home / f"{layout}-n{config.n}-seed{config.seed}-v{VERSION}"
    if place.is_dir():
        return place
    try:
        home.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=home))
        try:
            WRITERS[layout](draft, config.n, config.seed)
            _move(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise EnvironmentFault(f"phantoms cannot be written to {home} ({error}): set SALIP_CACHE=DIR.") from error
    return place


def _move(draft: Path, place: Path) -> None:
    try:
        draft.rename(place)
    except OSError:
        if not place.is_dir():  # another process was first: its drawing is the same
            raise
