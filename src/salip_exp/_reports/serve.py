"""`report.watch=true`: the pages below `outputs` on the loopback address, written again as runs and studies go on."""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rich.text import Text

from salip_exp._console import wide_console
from salip_exp._files import PICTURE, TooLarge, read_file
from salip_exp._reports.upkeep import Pages
from salip_exp._settings.folders import File
from salip_exp.errors import EnvironmentFault

HOST = "127.0.0.1"
CONNECTIONS = 32
"""Open at one time; what comes beyond is answered by 429."""
SILENT_S, DEADLINE_S = 5.0, 30.0
"""How long a connection may say nothing, and how long it may take in all, before it is closed."""
_BUSY = b"HTTP/1.0 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n"
_INTERVAL_S = 1.0  # between looks at the folders; at least this, and at least as long as writing the pages took
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".png": "image/png"}


def watch(outputs: Path, port: int) -> int:
    """Serve the pages until Ctrl-C, which is how this ends, and so no fault.

    Args:
        outputs: need not hold a run yet.
        port: 0 for any that is free.

    Returns:
        0.

    Raises:
        EnvironmentFault: the port is in use, or a page cannot be written.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    pages = Pages(outputs)
    try:
        with serving(outputs, port) as server:
            pages.refresh()
            wide_console().print(Text(f"http://{HOST}:{server.server_port}/ shows {outputs}; Ctrl-C ends it"))
            while True:
                begun = time.monotonic()
                pages.refresh()
                time.sleep(max(_INTERVAL_S, time.monotonic() - begun))
    except KeyboardInterrupt:
        return 0


@contextmanager
def serving(outputs: Path, port: int) -> Iterator[ThreadingHTTPServer]:
    """A server in a thread of its own, closed at the end.

    Raises:
        EnvironmentFault: the port is in use or not allowed.
    """
    try:
        server = _Server((HOST, port), _handler(outputs.resolve()))
    except OSError as error:
        used = error.errno == errno.EADDRINUSE
        raise EnvironmentFault(
            f"port {port} {'is in use' if used else f'cannot be opened ({error.strerror})'}: "
            "take another by report.port=N, or report.port=0 for any that is free"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


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
    except OSError:  # a name too long, a circle of links
        return None


def stamp(file: Path) -> str:
    """Changes whenever the file is written."""
    facts = file.stat()
    return f"{facts.st_mtime_ns}-{facts.st_ino}"


class _Server(ThreadingHTTPServer):
    """A server whose work is bounded: so many connections at a time, each for so long."""

    request_queue_size = 64

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._begun: dict[socket.socket, float] = {}
        self._guard = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, or refuse it where too many are open."""
        with self._guard:
            full = len(self._begun) >= CONNECTIONS
            if not full:
                self._begun[request] = time.monotonic()
        if not full:
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(0)
            request.send(_BUSY)
        self.shutdown_request(request)

    def service_actions(self) -> None:
        """Cut connections that are open for too long; a byte now and then does not keep one open."""
        with self._guard:
            late = [each for each, begun in self._begun.items() if time.monotonic() - begun > DEADLINE_S]
        for each in late:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        with self._guard:
            self._begun.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser went away, or a file was removed while it was read."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(root: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET of `servable` files, and of `/state?page=PATH` with the stamp of a page."""

        timeout = SILENT_S

        def do_GET(self) -> None:
            if not self._is_local():
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            try:
                asked = urlsplit(self.path)
                state = asked.path == "/state"
                page = servable(root, parse_qs(asked.query).get("page", [""])[0] if state else asked.path)
            except ValueError:  # an address that is none
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            try:
                if page is None:
                    raise FileNotFoundError
                kind, content = (
                    ("text/plain", stamp(page).encode()) if state else (KINDS[page.suffix], read_file(page, PICTURE))
                )
            except (OSError, TooLarge):  # gone meanwhile
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self._answer(kind, content)

        def _is_local(self) -> bool:
            """Whether the page was asked for by this machine's name: another site's name may point here too."""
            return (self.headers.get("Host") or "").rpartition(":")[0] in (HOST, "localhost")

        def _answer(self, kind: str, content: bytes) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal shows where the pages are, and no more."""

    return Handler
