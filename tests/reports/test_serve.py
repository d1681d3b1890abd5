"""The server gives out the pages of runs and nothing else, to this machine alone, and keeps them up to date."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salip_exp._reports.upkeep import Pages
from salip_exp.config import ReportConfig
from salip_exp.errors import EnvironmentFault

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from salip_exp._reports import drawing
from salip_exp._reports.serve import servable, serving, watch
from salip_exp._serving import HOST


@pytest.fixture(scope="module")
def whole(fakes, tmp_path_factory):
    """A run with its pages."""
    place = tmp_path_factory.mktemp("served") / "outputs"
    fakes.run_fake(place / "fake" / "a b" / "1", [fakes.make_case(i, f"c{i}") for i in range(3)])
    Pages(place).refresh()
    return place


@pytest.fixture
def outputs(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "outputs")


@pytest.fixture(scope="module")
def standing(fakes, whole):
    """The port that pages are served at which no test changes."""
    with serving(fakes.config(outputs=str(whole), report=ReportConfig(port=0))) as port:
        yield port


@pytest.fixture
def served(fakes, outputs):
    """The port that the pages are served at."""
    with serving(fakes.config(outputs=str(outputs), report=ReportConfig(port=0))) as port:
        yield port


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection(HOST, port, timeout=600)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_pages_scripts_and_pictures_are_given_out(outputs, served):
    assert get(served, "/") == get(served, "/index.html") == (200, (outputs / "index.html").read_bytes())
    assert get(served, "/fake/a%20b/1/report.html")[0] == 200
    assert get(served, "/fake/a%20b/1/cases.js")[0] == 200
    picture = next((outputs / "fake/a b/1/figures").glob("*.png"))
    assert get(served, f"/fake/a%20b/1/figures/{picture.name}") == (200, picture.read_bytes())


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
def test_nothing_else_is_given_out(outputs, served, path):
    (outputs.parent / "secret.html").write_text("secret")
    (outputs / "fake/a b/1/.hidden.html").write_text("secret")
    (outputs / "link.html").symlink_to(outputs.parent / "secret.html")
    (outputs / "linked").symlink_to(outputs.parent)
    (outputs / "index.html").rename(outputs / "other.html")
    status, content = get(served, path)
    assert status == 404 and b"secret" not in content


@pytest.mark.fault("R10")
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_names_and_other_pages_are_refused(standing, headers):
    assert get(standing, "/", headers)[0] == ask(standing, "layers", {}, headers)[0] == 403
    assert get(standing, "/", {"Host": f"localhost:{standing}"})[0] == 200


def ask(port: int, what: str, told: object, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """What is answered to a body of JSON."""
    connection = HTTPConnection(HOST, port, timeout=600)
    connection.request("POST", f"/{what}", json.dumps(told), headers or {})
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content) if content[:1] == b"{" else content


PAGE = "/fake/a%20b/1/report.html"


def lending(fakes, monkeypatch, method=None):
    """Have discs lent to who draws."""
    cases = [fakes.make_case(i, f"c{i}") for i in range(3)]
    monkeypatch.setattr(drawing, "Lab", lambda: fakes.FakeLab(cases, method or fakes.Threshold()))


def test_any_case_is_drawn_when_it_is_asked_for(fakes, monkeypatch, outputs, served):
    lending(fakes, monkeypatch)
    before = fakes.contents(outputs)
    status, layers = ask(served, "layers", {"page": PAGE, "case": "c1"})
    assert status == 200 and layers["size"] == [fakes.SIDE, fakes.SIDE]
    assert set(layers["outlines"]) == {"target", "prediction"} and layers["src"].startswith("data:image/png")
    status, strip = ask(served, "strip", {"page": PAGE, "case": "c1"})
    assert status == 200 and strip["said"] == "" and strip["strip"].startswith("data:image/png")
    assert fakes.contents(outputs) == before


def test_a_strip_that_is_not_what_was_scored_says_so(fakes, monkeypatch, outputs, served):
    class Other(fakes.Threshold):
        def predict(self, case):
            found = super().predict(case)
            return replace(found, mask=np.zeros_like(found.mask))

    lending(fakes, monkeypatch, Other())
    assert "differs from the scored one in" in ask(served, "strip", {"page": PAGE, "case": "c1"})[1]["said"]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "page takes text"),
        ({"page": PAGE}, "case takes text"),
        ({"page": "/index.html", "case": "c1"}, "there is no page of a run at this address"),
        ({"page": "/../secret.html", "case": "c1"}, "there is no page of a run at this address"),
        ({"page": PAGE, "case": "../../c1"}, "the record of ../../c1 cannot be read"),
        ({"page": PAGE, "case": "none"}, "the record of none cannot be read"),
    ],
)
def test_what_cannot_be_drawn_is_told(fakes, monkeypatch, outputs, served, told, why):
    lending(fakes, monkeypatch)
    for what in ("layers", "strip"):
        status, answer = ask(served, what, told)
        assert status == 422 and answer["error"].startswith(why)


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
        (b"GET http://[::1 HTTP/1.1", b"404"),
        (b"GET //[::1/x.html HTTP/1.1", b"404"),
        (b"GET /state?page=//[ HTTP/1.1", b"404"),
        (b"GET http://other.example/index.html HTTP/1.1", b"404"),
        (b"GET /" + b"a" * 5000 + b".html HTTP/1.1", b"404"),
        (b"GET /" + b"a/" * 5000 + b"b.html HTTP/1.1", b"404"),
        (b"GET / HTTP/9.9", b"200"),
        (b"GET / nonsense", b"400"),
        (b"nonsense", b"400"),
        (b"POST / HTTP/1.1", b"405"),
        (b"GET /index.html\0 HTTP/1.1", b"400"),
    ],
)
def test_odd_requests_are_answered_by_a_number_and_nothing_is_printed(standing, capfd, line, code):
    capfd.readouterr()
    answer = raw(standing, line + b"\r\nHost: localhost:%d" % standing + b"\r\n\r\n")
    assert answer.split()[1] == code
    assert get(standing, "/")[0] == 200
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.fault("B4")
@pytest.mark.parametrize("head", [b"GET /" + b"a" * 1_000_000, b"GET / HTTP/1.1" + b"\r\nX: 1" * 200_000])
def test_a_head_without_end_is_cut(standing, head):
    with suppress(ConnectionError):
        assert b" 400 " in raw(standing, head)
    assert get(standing, "/")[0] == 200


def test_a_folder_outside_is_not_reached_by_an_absolute_path(outputs):
    assert servable(outputs.resolve(), "/" + str(outputs.parent / "secret.html")) is None


def test_a_port_in_use_is_one_sentence(fakes, outputs):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFault, match=f"port {port} is in use: take another by report.port=N"):
            watch(fakes.config(outputs=str(outputs), report=ReportConfig(port=port)))


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


def test_the_stamp_of_a_page_changes_when_it_is_written(outputs, served):
    pages = Pages(outputs)
    pages.refresh()
    status, before = get(served, f"/state?page={PAGE}")
    assert status == 200 and get(served, f"/state?page={PAGE}") == (200, before)
    next((outputs / "fake/a b/1/cases").iterdir()).unlink()
    pages.refresh()
    assert get(served, f"/state?page={PAGE}")[1] != before


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
    process.send_signal(signal.SIGWINCH)
    assert process.wait() == 0
    pages.refresh()
    assert 'class="finished"' in (run / "report.html").read_text()
