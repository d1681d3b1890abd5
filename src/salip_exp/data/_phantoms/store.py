"""Phantoms on disk: drawn once, in the native layouts, and read by the readers of the real data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from salip_exp._files import cache_folder
from salip_exp.config import Phantom
from salip_exp.errors import EnvironmentFault
from salip_exp.plugins import resolved

VERSION = 2
"""Raise it when the pixels of any phantom change."""
_Writer = Callable[[Path, int, int], None]
"""Draws below a folder so many, or so many for each group, with a seed."""
WRITERS: dict[str, _Writer | str] = {
    "cc359": "salip_exp.data._phantoms.brain:write_cc359",
    "hc18": "salip_exp.data._phantoms.head:write_hc18",
    "xray": "salip_exp.data._phantoms.chest:write_xray",
}
"""By layout, as dotted names: who draws heads imports neither brains nor chests."""
GROUPS = {"cc359": 6}
"""How many groups share the phantoms of a layout out equally, where there are several."""


def phantom_root(layout: str, config: Phantom) -> Path:
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
            write: _Writer = resolved(WRITERS[layout])
            write(draft, config.n // GROUPS.get(layout, 1), config.seed)
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
