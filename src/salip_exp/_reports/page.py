"""What all pages have: templates in which everything is escaped, addresses, and pictures inside the page."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from salip_exp import _wording as wording
from salip_exp._files import PICTURE, atomic_write, open_file, png

OVERLAY, STRIP, THUMBNAIL = 480, 1600, 96  # long sides in pixels

_QUALITY = 82

BUDGET = 10_000_000  # characters of all data URIs of a page, so that a page stays one that opens at once

Pictures = Mapping[str, Sequence[Mapping[str, Any]]]

"""Entries of `figures` and `strips` (`runs.folder.read_pictures`)."""


def write_html(path: Path, template: str, **values: Any) -> None:
    """Write one page.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    atomic_write(path, environment().get_template(template).render(made=now(), **values))


@cache
def environment() -> Environment:
    """Jinja, which compiles each template once, with everything escaped and no variable silently empty."""
    environment = Environment(
        loader=PackageLoader("salip_exp._reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(wording, name)
        for name in ("number", "interval", "spread", "mean", "heading", "tally", "counted", "around")
    }
    environment.filters |= {"json": safe_json, "pretty": partial(json.dumps, indent=1, ensure_ascii=False)}
    return environment


def now() -> str:
    """The time, to the second."""
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


def safe_json(content: Any) -> Markup:
    """JSON that may stand in a script of a page: what could end the script is written as escapes."""
    return htmlsafe_json_dumps(content, separators=(",", ":"), allow_nan=False)


def address(place: Path, start: Path) -> str:
    """The relative address of a file or folder, for links in a page that lies in `start`."""
    return quote(os.path.relpath(place, start).replace(os.sep, "/"))


def embedded(folder: Path, pictures: Pictures) -> dict[str, list[dict[str, Any]]]:
    """The strips and the overlays of a run, each with `uri`, `width` and `height`.

    Returns:
        `strips` and `figures`: entries numbered through by `number`; pictures that cannot be read are left out. Those
        beyond the budget stay beside the page, and `uri` is their address. Strips that are shown on demand alone
        (`is_extra`) come last.
    """
    left, number = BUDGET, 0
    shown: dict[str, list[dict[str, Any]]] = {"strips": [], "figures": []}
    extra = [("strips", each) for each in pictures["strips"] if is_extra(each)]
    first = [(kind, each) for kind in shown for each in pictures[kind] if (kind, each) not in extra]
    for kind, entry in [*first, *extra]:
        place = folder / str(entry.get("image") or entry["file"])
        side = STRIP if kind == "strips" else OVERLAY
        found = data_uri(place, side) if left > 0 else _beside(place, folder, side)
        if found is not None and len(found["uri"]) > left:
            found = _beside(place, folder, side)
        if found is not None:
            shown[kind].append({**entry, **found, "number": number})
            inside = found["uri"].startswith("data:")
            left, number = left - len(found["uri"]) * inside, number + 1
    return shown


def _beside(place: Path, folder: Path, side: int) -> dict[str, Any] | None:
    """A picture that stays where it is, beside the page; None where there is none."""
    return {"uri": address(place, folder), "width": side, "height": side // 4} if place.exists() else None


def is_extra(strip: Mapping[str, Any]) -> bool:
    """Whether a strip is of a case that an overlay's rule took, such as `worst_02`, and so belongs to that."""
    return "_" in str(strip["rule"])


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


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Pixels (H, W, 3) as the data URI of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def data_uri(path: Path, side: int) -> dict[str, Any] | None:
    """A picture as the data URI of a JPEG that fits `side` pixels, with its size; None if it cannot be read."""
    stream = io.BytesIO()
    try:
        with open_file(path, PICTURE) as file, Image.open(file, formats=("PNG", "JPEG")) as picture:
            picture.thumbnail((side, side))
            picture.convert("RGB").save(stream, "jpeg", quality=_QUALITY)
            width, height = picture.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    uri = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    return {"uri": uri, "width": width, "height": height}
