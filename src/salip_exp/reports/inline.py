"""Pictures inside pages: shrunk to what a page shows, as data URIs, and no more of them than a page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

OVERLAY, STRIP, THUMBNAIL = 480, 1600, 96  # long sides in pixels
QUALITY = 82
BUDGET = 10_000_000  # characters of all data URIs of a page, so that a page stays one that opens at once


def embedded(folder: Path, summary: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The strips and the overlays of a run as they stand in its summary, each with `uri`, `width` and `height`.

    Returns:
        `strips` and `figures`: entries numbered through by `number`; pictures that cannot be read are left out, and
        those beyond the budget.
    """
    left, number = BUDGET, 0
    shown: dict[str, list[dict[str, Any]]] = {"strips": [], "figures": []}
    for kind, entry in _entries(summary):
        found = data_uri(folder / str(entry["file"]), STRIP if kind == "strips" else OVERLAY) if left > 0 else None
        if found is not None and len(found["uri"]) <= left:
            shown[kind].append({**entry, **found, "number": number})
            left, number = left - len(found["uri"]), number + 1
    return shown


def pictures_by_case(summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files of a run's pictures by case, overlays first."""
    files: dict[str, list[str]] = {}
    for kind in ("figures", "strips"):
        for entry in summary.get(kind, ()):
            files.setdefault(entry["case_id"], []).append(entry["file"])
    return files


def thumbnails(folder: Path, summary: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    """The first overlays of a run, small."""
    entries: Sequence[Mapping[str, Any]] = summary.get("figures", [])[:most]
    found = [(entry, data_uri(folder / str(entry["file"]), THUMBNAIL)) for entry in entries]
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


def _entries(summary: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("strips", "figures"):
        for entry in summary.get(kind, ()):
            yield kind, entry
