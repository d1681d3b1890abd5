"""Servers in wandb's place, on the loopback address: one that answers, and all the ways not to."""

from __future__ import annotations

import http.server
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROJECT = {"id": "p", "name": "salip_exp", "entity": {"id": "e", "name": "someone"}}
HANG = 0
"""A status that never comes: the request is taken, and no answer given."""


class FakeWandb(http.server.ThreadingHTTPServer):
    """As much of wandb's server as a run needs; from `good` requests on it answers with `then`.

    Attributes:
        seen: what was asked, in order: names of GraphQL operations, else method and path.
        streamed: what the file stream was told, by file.
        views: workspaces that were saved, with their specifications.
    """

    daemon_threads = True

    def __init__(self, good: int | None = None, then: int = 500) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.good, self.then = good, then
        self.seen: list[str] = []
        self.streamed: dict[str, list[str]] = {}
        self.views: list[dict[str, Any]] = []
        self.released = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, what: str) -> bool:
        """Note a request; whether it is to be answered well."""
        with self.lock:
            self.seen.append(what)
            return self.good is None or len(self.seen) <= self.good


@contextmanager
def serving(good: int | None = None, then: int = 500) -> Iterator[FakeWandb]:
    server = FakeWandb(good, then)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # held and never listened on, so that nobody else takes it
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeWandb

    def log_message(self, format: str, *values: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(f"GET {self.path}", {})

    def do_PUT(self) -> None:
        self._body()
        self._answer("PUT", {})

    def do_POST(self) -> None:
        body = json.loads(self._body() or b"{}")
        if self.path != "/graphql":
            for name, part in body.get("files", {}).items():
                self.server.streamed.setdefault(name, []).extend(part["content"])
            self._answer(f"POST {self.path}", {})
            return
        found = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
        name = found[1] if found else "?"
        self._answer(name, {"data": self._data(name, body.get("variables") or {})})

    def _data(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        bucket = {"id": "b", "name": variables.get("name"), "displayName": "n", "config": "{}", "project": PROJECT}
        uploads = [{"name": each, "uploadUrl": f"{self.server.url}/up"} for each in variables.get("files") or []]
        stored = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}
        if name == "UpsertView2":
            self.server.views.append(variables | {"spec": json.loads(variables["spec"])})
        answers: dict[str, dict[str, Any]] = {
            "RunResumeStatus": {"model": {**PROJECT, "bucket": None}},
            "UpsertBucket": {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0}, "inserted": True}},
            "Viewer": {"viewer": {"id": "v", "entity": "someone", "username": "someone", "flags": "{}"}},
            "ServerFeaturesQuery": {"serverInfo": {"features": []}},
            "RunStoppedStatus": {"project": {"run": {"stopped": False}}},
            "CreateRunFiles": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": uploads}},
            "ArtifactType": {"project": {"artifact": None}},
            "UpsertView2": {"upsertView": {"view": {"id": "w", "name": variables.get("name")}, "inserted": True}},
            "CreateArtifact": {"createArtifact": {"artifact": stored}},
        }
        return answers.get(name, {})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, what: str, content: dict[str, Any]) -> None:
        good = self.server.count(what)
        if not good and self.server.then == HANG:
            self.server.released.wait()
            return
        raw = json.dumps(content if good else {}).encode()
        self.send_response(200 if good else self.server.then)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
