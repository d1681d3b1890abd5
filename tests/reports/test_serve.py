"""The server gives out the pages of runs and nothing else, to this machine alone, and keeps them up to date."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

from salip_exp._reports import serve
from salip_exp._reports.serve import HOST, servable, serving, watch
from salip_exp._reports.upkeep import Pages
from salip_exp.errors import EnvironmentFault


@pytest.fixture(scope="module")
def whole(fakes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "run"
    fakes.run_fake(folder, [fakes.make_case(i, f"c{i}") for i in range(3)])
    return folder


@pytest.fixture
def outputs(whole, tmp_path):
    place = tmp_path / "outputs"
    shutil.copytree(whole, place / "fake" / "a b" / "1")
    return place


def get(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection(HOST, port, timeout=600)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_pages_scripts_and_pictures_are_given_out(outputs):
    Pages(outputs).refresh()
    with serving(outputs, 0) as server:
        port = server.server_port
        assert get(port, "/") == get(port, "/index.html") == (200, (outputs / "index.html").read_bytes())
        assert get(port, "/fake/a%20b/1/report.html")[0] == 200
        assert get(port, "/fake/a%20b/1/cases.js")[0] == 200
        picture = next((outputs / "fake/a b/1/figures").glob("*.png"))
        assert get(port, f"/fake/a%20b/1/figures/{picture.name}") == (200, picture.read_bytes())


@pytest.mark.fault("R10")
@pytest.mark.parametrize(
    "path",
    [
        "/fake/a%20b/1",
        "/fake/a%20b/1/",
        "/fake/a%20b/1/config.yaml",
        "/fake/a%20b/1/run.log",
        "/fake/a%20b/1/.hidden.html",
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/fake/../../secret.html",
        "/fake/%2e%2e%2f%2e%2e%2fsecret.html",
        "/link.html",
        "/linked/secret.html",
        "/absent.html",
        "/a%00b.html",
        "//etc/passwd",
        "/state?page=/../secret.html",
        "/state?page=/fake/a%20b/1/config.yaml",
        "/state",
    ],
)
def test_nothing_else_is_given_out(outputs, path):
    Pages(outputs).refresh()
    (outputs.parent / "secret.html").write_text("secret")
    (outputs / "fake/a b/1/.hidden.html").write_text("secret")
    (outputs / "link.html").symlink_to(outputs.parent / "secret.html")
    (outputs / "linked").symlink_to(outputs.parent)
    (outputs / "index.html").rename(outputs / "other.html")
    with serving(outputs, 0) as server:
        status, content = get(server.server_port, path)
    assert status == 404 and b"secret" not in content


@pytest.mark.fault("R10")
def test_other_names_for_this_machine_are_refused(outputs):
    Pages(outputs).refresh()
    with serving(outputs, 0) as server:
        port = server.server_port
        assert get(port, "/", f"evil.example:{port}")[0] == 403
        assert get(port, "/", f"localhost:{port}")[0] == 200


@pytest.mark.fault("R10")
def test_it_listens_on_the_loopback_address_alone(outputs):
    with serving(outputs, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def raw(port: int, request: bytes) -> bytes:
    """The answer to bytes that no client would send; it has no head where they name no version of HTTP."""
    with socket.create_connection((HOST, port), timeout=60) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return answer.read()


@pytest.mark.fault("B4")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"GET http://[::1 HTTP/1.1", b"400"),
        (b"GET //[::1/x.html HTTP/1.1", b"404"),
        (b"GET /state?page=//[ HTTP/1.1", b"404"),
        (b"GET http://other.example/index.html HTTP/1.1", b"200"),  # the path is what counts: nothing is fetched
        (b"GET /" + b"a" * 5000 + b".html HTTP/1.1", b"404"),
        (b"GET /" + b"a/" * 5000 + b"b.html HTTP/1.1", b"404"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1", b"414"),
        (b"GET / HTTP/9.9", b"505"),
        (b"GET / nonsense", b"400"),
        (b"nonsense", b"400"),
        (b"POST / HTTP/1.1", b"501"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, b"431"),
        (b"GET / HTTP/1.1" + b"\r\nX: 1" * 200, b"431"),
        (b"GET /index.html\0 HTTP/1.1", b"404"),
    ],
)
def test_odd_requests_are_answered_by_a_number_and_nothing_is_printed(outputs, capfd, line, code):
    Pages(outputs).refresh()
    capfd.readouterr()
    with serving(outputs, 0) as server:
        port = server.server_port
        host = b"" if code == b"431" else b"\r\nHost: localhost:%d" % port
        answer = raw(port, line + host + b"\r\n\r\n")
        assert answer.split()[1] == code or b"Error code: " + code in answer
        assert get(port, "/")[0] == 200
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.fault("B4")
def test_slow_connections_are_few_and_are_cut(outputs, monkeypatch, until):
    monkeypatch.setattr(serve, "DEADLINE_S", 1.0)
    Pages(outputs).refresh()
    before = threading.active_count()
    with serving(outputs, 0) as server:
        port = server.server_port
        slow = [socket.create_connection((HOST, port)) for _ in range(60)]
        for each in slow:
            each.sendall(b"GET / HT")
        assert threading.active_count() <= before + serve.CONNECTIONS + 1
        refused = [each for each in slow if said(each).startswith(b"HTTP/1.0 429")]
        assert len(refused) >= len(slow) - serve.CONNECTIONS
        until(lambda: threading.active_count() <= before + 1)
        assert get(port, "/")[0] == 200
        for each in slow:
            each.close()


def said(connection: socket.socket) -> bytes:
    """What was answered at last; empty where the connection was closed."""
    connection.settimeout(60)
    try:
        return connection.recv(100)
    except ConnectionError:
        return b""


def test_a_folder_outside_is_not_reached_by_an_absolute_path(outputs):
    assert servable(outputs.resolve(), "/" + str(outputs.parent / "secret.html")) is None


def test_a_port_in_use_is_one_sentence(outputs):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFault, match=f"port {port} is in use: take another by report.port=N"):
            watch(outputs, port)


def test_only_pages_of_runs_that_changed_are_written_again(fakes, outputs):
    run = outputs / "fake" / "a b" / "1"
    other = shutil.copytree(run, outputs / "fake" / "other" / "1")
    pages = Pages(outputs)
    assert pages.refresh() == 2
    assert pages.refresh() == 0
    before = (run / "report.html").stat().st_mtime_ns, (other / "report.html").stat().st_mtime_ns
    next((other / "cases").iterdir()).unlink()
    assert pages.refresh() == 1
    after = (run / "report.html").stat().st_mtime_ns, (other / "report.html").stat().st_mtime_ns
    assert after[0] == before[0] and after[1] > before[1]
    shutil.rmtree(other)
    assert pages.refresh() == 0
    assert "fake/other/1" not in (outputs / "index.html").read_text()


def test_the_stamp_of_a_page_changes_when_it_is_written(outputs):
    pages = Pages(outputs)
    pages.refresh()
    with serving(outputs, 0) as server:
        page = "/state?page=/fake/a%20b/1/report.html"
        status, before = get(server.server_port, page)
        assert status == 200 and get(server.server_port, page) == (200, before)
        next((outputs / "fake/a b/1/cases").iterdir()).unlink()
        pages.refresh()
        assert get(server.server_port, page)[1] != before


def test_an_empty_folder_is_waited_on(tmp_path):
    outputs = tmp_path / "none yet"
    outputs.mkdir()
    assert Pages(outputs).refresh() == 0
    assert "No run lies here yet" in (outputs / "index.html").read_text()


@pytest.mark.slow
def test_ctrl_c_ends_the_command_with_0(outputs):
    command = [sys.executable, "-m", "salip_exp", "task=report", "report.watch=true", "report.port=0"]
    process = subprocess.Popen(
        [*command, f"outputs={outputs}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
    assert get(port, "/")[0] == 200
    os.kill(process.pid, signal.SIGINT)
    rest, complaints = process.communicate()
    assert (process.returncode, rest, complaints) == (0, "", "")


@pytest.mark.slow
def test_a_page_follows_a_run_that_goes_on(outputs: Path, fakes, until):
    run = outputs / "fake" / "live" / "1"
    command = [sys.executable, fakes.__file__, str(run), "false", "3", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until(run.with_name("1.waits").exists, process)
    pages = Pages(outputs)
    pages.refresh()
    assert 'class="running"' in (run / "report.html").read_text()
    process.send_signal(signal.SIGUSR1)
    assert process.wait() == 0
    pages.refresh()
    assert 'class="finished"' in (run / "report.html").read_text()
