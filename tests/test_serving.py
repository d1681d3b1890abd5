"""What serves pages is bound to this machine, and its connections are few and are cut where they are slow."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from salip_exp.errors import DataError, EnvironmentFault

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from starlette.testclient import TestClient

from salip_exp import _serving

PORT = 8766
LARGE = 64 << 20


@pytest.fixture
def app() -> Any:
    def told(body: Any) -> Any:
        raise DataError(f"there is no {_serving.text(body, 'name')}")

    def page(path: str, query: Any) -> _serving.Page:
        return _serving.Page(b" " * LARGE if path == "large" else b"a page", "text/plain")

    return _serving.application({"/{path:path}": page}, {"/told": told}, PORT)


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """The port of the real server around the application, whose name for itself is another one."""
    with _serving.bound(0, "a.port") as listening, _serving.running(app, listening):
        yield listening.getsockname()[1]


def connected(port: int) -> socket.socket:
    return socket.create_connection((_serving.HOST, port), timeout=60)


def status(port: int) -> bytes:
    with connected(port) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n\r\n".encode())
        return connection.makefile("rb").readline().split()[1]


@pytest.mark.parametrize("module", ["salip_exp._reports.serve", "salip_exp._exploring.server"])
@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_without_the_extra_its_name_is_told(module: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("salip_exp._serving", module):
        monkeypatch.delitem(sys.modules, each, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[explore\]'"):
        importlib.import_module(module)


def test_an_answer_that_is_none_is_a_sentence(app: Any) -> None:
    client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
    answer = client.post("/told", json={"name": "x"})
    assert (answer.status_code, answer.json()) == (422, {"error": "there is no x"})
    assert client.post("/told", json={}).json() == {"error": "name takes text"}
    assert client.post("/told", json={}, headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.fault("B4")
def test_slow_heads_are_cut_and_connections_are_few(app: Any, monkeypatch: pytest.MonkeyPatch, until: Any) -> None:
    monkeypatch.setattr(_serving, "HEAD_S", 0.5)
    with serving(app) as port, ExitStack() as opened:
        until(lambda: status(port) == b"200")
        slow = [opened.enter_context(connected(port)) for _ in range(_serving.CONNECTIONS + 8)]
        for each in slow:
            each.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert status(port) == b"503"
        assert [said(each) for each in slow] == [b""] * len(slow)
        until(lambda: status(port) == b"200")


def said(connection: socket.socket) -> bytes:
    """What comes next; nothing where the connection was cut."""
    try:
        return connection.recv(1)
    except ConnectionError:
        return b""


@pytest.mark.fault("B4")
def test_a_slow_body_is_cut(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serving, "BODY_S", 0.2)
    head = f"POST /told HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Length: 9\r\n\r\n"
    with serving(app) as port, connected(port) as connection:
        connection.sendall(head.encode())
        assert connection.makefile("rb").readline().split()[1] == b"408"


@pytest.mark.fault("B4")
def test_who_does_not_take_an_answer_is_cut(app: Any, monkeypatch: pytest.MonkeyPatch, until: Any) -> None:
    monkeypatch.setattr(_serving, "TAKEN_S", 0.2)
    with serving(app) as port, ExitStack() as opened:
        slow = [opened.enter_context(connected(port)) for _ in range(_serving.CONNECTIONS)]
        for each in slow:
            each.sendall(f"GET /large HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n\r\n".encode())
        until(lambda: status(port) == b"200")


@pytest.mark.fault("R10")
def test_it_listens_on_the_loopback_address_and_a_port_in_use_is_told() -> None:
    with _serving.bound(0, "a.port") as first:
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(EnvironmentFault, match=r"is in use: take another by a\.port=N"):
            _serving.bound(first.getsockname()[1], "a.port")
