"""HTML pages that need no other file: `report.html` of a run, and the index of all runs."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from salip_exp.reporting import wording
from salip_exp.reporting.distribution import distribution
from salip_exp.reporting.folders import RunFolder, read_run
from salip_exp.running.files import atomic_write

THUMBNAIL, THUMBNAILS = 96, 3  # pixels; pictures of each run on the index


def write_page(folder: Path) -> None:
    """Write `report.html` of a run folder, whatever state the run is in.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    write_run_page(read_run(folder))


def write_run_page(run: RunFolder) -> None:
    """Write `report.html` of a run that has been read."""
    figures = [entry | {"uri": data_uri(run.folder / entry["file"])} for entry in run.summary.get("figures", [])]
    config = run.folder / "config.yaml"
    page = (
        environment()
        .get_template("run.html.j2")
        .render(
            run=run,
            title=wording.title(run.summary) if run.summary else run.folder.name,
            figures=[entry for entry in figures if entry["uri"]],
            distribution=distribution(run.records, run.summary["groups"]) if run.summary else None,
            config=config.read_text(encoding="utf-8", errors="replace") if config.exists() else "",
            problems=[record for record in run.records if record.failed],
            made=now(),
        )
    )
    atomic_write(run.folder / "report.html", page)


def write_index(outputs: Path, runs: Sequence[RunFolder], studies: Sequence[Path] = ()) -> None:
    """Write `index.html` with a row per run, and links to the pages of studies.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    rows = [
        {
            "run": run,
            "name": os.path.relpath(run.folder, outputs),
            "link": _link(run.folder / "report.html", outputs),
            "title": wording.title(run.summary) if run.summary else "",
            "thumbnails": _thumbnails(run),
        }
        for run in runs
    ]
    pages = [{"name": os.path.relpath(each.parent, outputs), "link": _link(each, outputs)} for each in studies]
    index = environment().get_template("index.html.j2").render(rows=rows, studies=pages, made=now())
    atomic_write(outputs / "index.html", index)


def _link(page: Path, outputs: Path) -> str:
    return quote(os.path.relpath(page, outputs).replace(os.sep, "/"))


def _thumbnails(run: RunFolder) -> list[str]:
    files = [run.folder / entry["file"] for entry in run.summary.get("figures", [])[:THUMBNAILS]]
    return [uri for uri in (data_uri(path, THUMBNAIL) for path in files) if uri]


def data_uri(path: Path, side: int | None = None) -> str | None:
    """A picture as a data URI, shrunk to fit `side` pixels if given; None if it cannot be read."""
    try:
        content = path.read_bytes() if side is None else _shrunk(path, side)
    except (OSError, ValueError):
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _shrunk(path: Path, side: int) -> bytes:
    stream = io.BytesIO()
    with Image.open(path) as picture:
        picture.thumbnail((side, side))
        picture.save(stream, "png")
    return stream.getvalue()


def environment() -> Environment:
    """Jinja with everything escaped and no variable silently empty."""
    environment = Environment(
        loader=PackageLoader("salip_exp.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": wording.number, "spread": wording.spread, "tally": wording.tally}
    environment.filters["pretty"] = partial(json.dumps, indent=1, ensure_ascii=False)
    return environment


def now() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
