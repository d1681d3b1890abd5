"""Pictures inside pages: shrunk to what a page shows, as data URIs, and no more of them than a page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

OVERLAY, STRIP, THUMBNAIL = 480, 1600, 96  # long sides in pixels
QUALITY = 82
BUDGET = 10_000_000  # characters of all data URIs of a page, so that a page stays one that opens at once

Pictures = Mapping[str, Sequence[Mapping[str, Any]]]
"""Entries of `figures` and `strips` (`runs.folder.read_pictures`)."""


def embedded(folder: Path, pictures: Pictures) -> dict[str, list[dict[str, Any]]]:
    """The strips and the overlays of a run, each with `uri`, `width` and `height`.

    Returns:
        `strips` and `figures`: entries numbered through by `number`; pictures that cannot be read are left out, and
        those beyond the budget.
    """
    left, number = BUDGET, 0
    shown: dict[str, list[dict[str, Any]]] = {"strips": [], "figures": []}
    for kind, entry in [(name, entry) for name in shown for entry in pictures[name]]:
        found = data_uri(folder / str(entry["file"]), STRIP if kind == "strips" else OVERLAY) if left > 0 else None
        if found is not None and len(found["uri"]) <= left:
            shown[kind].append({**entry, **found, "number": number})
            left, number = left - len(found["uri"]), number + 1
    return shown


def pictures_by_case(pictures: Pictures) -> dict[str, list[str]]:
    """The files of a run's pictures by case, overlays first."""
    files: dict[str, list[str]] = {}
    for kind in ("figures", "strips"):
        for entry in pictures[kind]:
            files.setdefault(entry["case_id"], []).append(entry["file"])
    return files


def thumbnails(folder: Path, pictures: Pictures, most: int) -> list[dict[str, Any]]:
    """The first overlays of a run, small."""
    found = [(entry, data_uri(folder / str(entry["file"]), THUMBNAIL)) for entry in pictures["figures"][:most]]
    return [{**entry, **picture} for entry, picture in found if picture is not None]


def data_uri(path: Path, side: int) -> dict[str, Any] | None:
    """A picture as the data URI of a JPEG that fits `side` pixels, with its size; None if it cannot be read."""
    stream = io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.thumbnail((side, side))
            picture.convert("RGB").save(stream, "jpeg", quality=QUALITY)
            width, height = picture.size
    except (OSError, ValueError):
        return None
    uri = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    return {"uri": uri, "width": width, "height": height}
