"""A server on the loopback in the layout of the hub's: revisions, trees, files, and who may have them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Hub:
    """Repositories by name, each a list of commits, the newest last: file name to bytes.

    Attributes:
        token: that is asked for; None gives to all.
        accepted: whether the account of that token has accepted the licence.
        cuts: bytes of a large file that are sent before closing, request by request; then whole.
        asked: method, path, and Range of each request.
    """

    repos: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    token: str | None = None
    accepted: bool = True
    cuts: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    def add(self, repo: str, folder: Path) -> str:
        """A commit of all files of a folder; its name."""
        files = {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
        self.repos.setdefault(repo, []).append(files)
        return commit(files)


def commit(files: Mapping[str, bytes]) -> str:
    whole = json.dumps({name: hashlib.sha1(data).hexdigest() for name, data in files.items()}, sort_keys=True)
    return hashlib.sha1(whole.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.answer(head=True)

    def do_GET(self) -> None:
        self.answer(head=False)

    def answer(self, head: bool) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        api = path.startswith("/api/models/")
        owner, name, kind, revision, *rest = (*path.removeprefix("/api/models/").strip("/").split("/"), "", "", "")
        commits = self.hub.repos.get(f"{owner}/{name}")
        if commits is None:
            return self.refuse(401, "RepoNotFound")
        files = next((each for each in commits if commit(each) == revision), None)
        files = commits[-1] if revision in ("main", "") else files
        if files is None:
            return self.refuse(404, "RevisionNotFound")
        if api:
            content = {"sha": commit(files), "id": f"{owner}/{name}"} if kind != "tree" else tree(files)
            return self.send(json.dumps(content).encode(), {"Content-Type": "application/json"}, head)
        if self.hub.token is not None and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.refuse(401, "GatedRepo")
        if not self.hub.accepted:
            return self.refuse(403, "GatedRepo")
        file = "/".join(each for each in rest if each)
        if file not in files:
            return self.refuse(404, "EntryNotFound")
        facts = {"ETag": f'"{oid(files[file])}"', "X-Repo-Commit": commit(files)}
        return self.send(files[file], facts, head)

    def send(self, data: bytes, more: Mapping[str, str], head: bool) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in {**more, "Content-Length": str(len(data) - start), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if not head:
            cut = self.hub.cuts.pop(0) if self.hub.cuts and len(data) > 10_000 else len(data)
            self.wfile.write(data[start : start + cut])

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def tree(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [{"type": "file", "path": name, "size": len(data), "oid": oid(data)} for name, data in files.items()]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub without repositories."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
