"""`report.watch=true`: the pages below `outputs` on the loopback address, written again as runs and studies go on, and
strips and layers of any case, drawn when they are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rich.text import Text

from salip_exp._console import wide_console
from salip_exp._files import PICTURE, TooLarge, read_file
from salip_exp._reports.drawing import Drawer
from salip_exp._reports.upkeep import Pages
from salip_exp._serving import HOST, App, Page, Question, bound, running, text
from salip_exp._serving import application as bounded
from salip_exp._settings.folders import File
from salip_exp.config import Config
from salip_exp.errors import DataError

_INTERVAL_S = 1.0  # between looks at the folders; at least this, and at least as long as writing the pages took
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".png": "image/png"}
_POLICY = "default-src 'self' 'unsafe-inline' data:; base-uri 'none'; frame-ancestors 'none'"


def watch(config: Config) -> int:
    """Serve the pages below `outputs`, which need not hold a run yet, until Ctrl-C, which is how this ends, and so no
    fault.

    Returns:
        0.

    Raises:
        EnvironmentFault: the port is in use, or a page cannot be written.
    """
    outputs = Path(config.outputs)
    outputs.mkdir(parents=True, exist_ok=True)
    pages = Pages(outputs)
    try:
        with serving(config) as port:
            pages.refresh()
            wide_console().print(Text(f"http://{HOST}:{port}/ shows {outputs}; Ctrl-C ends it"))
            while True:
                begun = time.monotonic()
                pages.refresh()
                time.sleep(max(_INTERVAL_S, time.monotonic() - begun))
    except KeyboardInterrupt:
        return 0


@contextmanager
def serving(config: Config) -> Iterator[int]:
    """The port of a server in a thread of its own, closed at the end.

    Args:
        config: of the command; where pages lie, at which port, and what networks run on.

    Raises:
        EnvironmentFault: the port is in use or not allowed.
    """
    with bound(config.report.port, "report.port") as listening:
        port = listening.getsockname()[1]
        app = application(Path(config.outputs).resolve(), Drawer(config), port)
        with running(app, listening):
            yield port


def application(root: Path, drawer: Drawer, port: int) -> App:
    """Pages below a folder, the stamp of one by `/state?page=PATH`, and what is drawn of a case of one.

    Args:
        root: resolved.
        drawer: draws one case at a time.
        port: that is listened on.
    """

    def given(path: str, query: Mapping[str, str]) -> Page | None:
        return _page(servable(root, path), lambda page: read_file(page, PICTURE))

    def state(path: str, query: Mapping[str, str]) -> Page | None:
        return _page(servable(root, query.get("page", "")), lambda page: stamp(page).encode())

    def drawn(of: Callable[[Path, str], Any]) -> Question:
        return lambda told: of(_run_of(root, told), text(told, "case"))

    questions = {"/layers": drawn(drawer.layers), "/strip": drawn(drawer.strip)}
    return bounded({"/state": state, "/{path:path}": given}, questions, port)


def _run_of(root: Path, told: Mapping[str, Any]) -> Path:
    page = servable(root, text(told, "page"))
    if page is None or page.name != File.report:
        raise DataError("there is no page of a run at this address")
    return page.parent


def _page(file: Path | None, content: Callable[[Path], bytes]) -> Page | None:
    """What is given out of a file; None where there is none, or where it is gone meanwhile."""
    try:
        return None if file is None else Page(content(file), KINDS[file.suffix], _POLICY)
    except (OSError, TooLarge):
        return None


def servable(root: Path, path: str) -> Path | None:
    """The file that a request path names, or None where it is none that may be given out.

    Pages, scripts and pictures below the root are; hidden files, folders, other kinds of files, and whatever lies
    elsewhere (by `..`, by an absolute path, by a link) are not.

    Args:
        root: resolved.
        path: as requested, percent-encoded.
    """
    name = unquote(path).lstrip("/") or File.all_runs
    if "\0" in name or any(part.startswith(".") for part in Path(name).parts):
        return None
    try:
        file = (root / name).resolve()
        return file if file.is_relative_to(root) and file.suffix in KINDS and file.is_file() else None
    except (OSError, ValueError):  # a name too long, a circle of links, half a letter
        return None


def stamp(file: Path) -> str:
    """Changes whenever the file is written."""
    facts = file.stat()
    return f"{facts.st_mtime_ns}-{facts.st_ino}"
