"""Weights are fetched whole, continued when broken, shared between processes, and never trusted without their hash."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salip_exp.errors import EnvironmentFault, WeightsError
from salip_exp.networks import weights
from salip_exp.networks.registry import Entry, find


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def one_line(fault: pytest.ExceptionInfo[Any]) -> str:
    text = str(fault.value)
    assert "\n" not in text
    return text


def test_a_missing_file_is_fetched_once_and_then_found(entry: Entry, shop: Any, cache: Path) -> None:
    path = weights.obtain(entry, download=True)
    assert path == cache / "weights" / "net.pth"
    assert path.read_bytes() == shop.payload
    assert weights.obtain(entry, download=False) == path
    assert shop.asked == [""]
    assert names(cache / "weights") == ["net.pth"]


def test_a_download_cut_three_times_continues_where_it_stopped(entry: Entry, shop: Any) -> None:
    shop.cuts = [1000, 2000, 3000]
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert shop.asked == ["", "bytes=1000-", "bytes=3000-", "bytes=6000-"]


def test_a_cut_is_noticed_where_urllib3_does_not_count_the_bytes(
    entry: Entry, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = urllib3.HTTPResponse.__init__

    def lenient(self: Any, *args: Any, **kwargs: Any) -> None:  # the default before urllib3 2
        original(self, *args, **{**kwargs, "enforce_content_length": False})

    monkeypatch.setattr(urllib3.HTTPResponse, "__init__", lenient)
    shop.cuts = [1000]
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert shop.asked == ["", "bytes=1000-"]


def test_a_later_command_continues_a_broken_download(entry: Entry, shop: Any, cache: Path) -> None:
    shop.cuts = [5000, 0, 0, 0]
    with pytest.raises(WeightsError) as fault:
        weights.obtain(entry, download=True)
    assert "broke off" in one_line(fault) and "continues there" in str(fault.value)
    assert names(cache / "weights") == ["net.pth.partial"]
    shop.asked.clear()
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert shop.asked == ["bytes=5000-"]


def test_a_server_without_ranges_is_asked_from_the_start(entry: Entry, shop: Any) -> None:
    shop.ranges, shop.cuts = False, [5000]
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert shop.asked == ["", "bytes=5000-"]


def test_a_part_of_another_file_is_replaced(entry: Entry, shop: Any, cache: Path) -> None:
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "net.pth.partial").write_bytes(b"something else")
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert shop.asked == ["bytes=14-", ""]


@pytest.mark.parametrize("surplus", [b"", b"more"])
def test_a_part_as_long_as_the_file_or_longer_ends_well(entry: Entry, shop: Any, cache: Path, surplus: bytes) -> None:
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "net.pth.partial").write_bytes(shop.payload + surplus)
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert names(cache / "weights") == ["net.pth"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 400_000), max_size=4), ranges=st.booleans(), length=st.booleans())
def test_wherever_the_server_cuts_the_file_is_whole_or_absent(
    entry: Entry, shop: Any, cache: Path, cuts: list[int], ranges: bool, length: bool
) -> None:
    shop.cuts, shop.ranges, shop.length = list(cuts), ranges, length
    target = cache / "weights" / "net.pth"
    target.unlink(missing_ok=True)
    target.with_name("net.pth.partial").unlink(missing_ok=True)
    try:
        weights.obtain(entry, download=True)
    except WeightsError:
        assert cuts and not target.exists()
    else:
        assert target.read_bytes() == shop.payload


@pytest.mark.fault("W6", "R6")
def test_wrong_bytes_from_the_server_are_not_kept(entry: Entry, shop: Any, cache: Path) -> None:
    shop.payload = b"<html>log in</html>"
    with pytest.raises(WeightsError) as fault:
        weights.obtain(entry, download=True)
    text = one_line(fault)
    assert shop.sha256 in text and entry.sha256 in text and "19 bytes" in text
    assert names(cache / "weights") == []


@pytest.mark.parametrize(("status", "word"), [(404, "404"), (403, "403"), (503, "503")])
def test_a_refusal_names_its_status(entry: Entry, shop: Any, status: int, word: str) -> None:
    shop.status = status
    with pytest.raises(WeightsError, match=word) as fault:
        weights.obtain(entry, download=True)
    assert entry.sha256 in one_line(fault)
    assert len(shop.asked) == 1


@pytest.mark.ci
def test_a_silent_server_is_given_up(entry: Entry, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "READ_S", 0.1)
    shop.hang = threading.Event()
    with pytest.raises(WeightsError, match="does not answer"):
        weights.obtain(entry, download=True)


@pytest.mark.fault("W1")
def test_w1_truncated_cached_file_is_reported_with_both_hashes(entry: Entry, shop: Any) -> None:
    path = weights.obtain(entry, download=True)
    path.write_bytes(shop.payload[:-1])
    with pytest.raises(WeightsError) as fault:
        weights.obtain(entry, download=False)
    text = one_line(fault)
    assert entry.sha256 in text and hashlib.sha256(shop.payload[:-1]).hexdigest() in text and str(path) in text
    assert fault.value.exit_code == 4


@pytest.mark.fault("W2")
def test_w2_one_flipped_bit_in_the_cache_is_noticed_and_fetched_again(entry: Entry, shop: Any) -> None:
    path = weights.obtain(entry, download=True)
    flip_bit(path)
    with pytest.raises(WeightsError, match="expected"):
        weights.obtain(entry, download=False)
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert len(shop.asked) == 2


@pytest.mark.fault("W6")
def test_w6_two_threads_filling_one_cache_download_once(entry: Entry, shop: Any, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: weights.obtain(entry, download=True), range(4)))
    assert {path.read_bytes() for path in paths} == {shop.payload}
    assert shop.asked == [""]
    assert names(cache / "weights") == ["net.pth"]


@pytest.mark.fault("W6")
def test_w6_two_processes_filling_one_cache_download_once(
    entry: Entry, shop: Any, cache: Path, until: Callable[..., None]
) -> None:
    shop.hang = threading.Event()
    code = (
        "import sys; from salip_exp.networks.registry import Entry; from salip_exp.networks.weights import obtain;"
        "print(obtain(Entry('sam', 'vit_b', 'net.pth', sys.argv[1], (768,), sys.argv[2]), True))"
    )
    command = [sys.executable, "-c", code, entry.sha256, shop.url]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    until(lambda: shop.asked)
    shop.hang.set()
    out = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert out == [f"{cache / 'weights' / 'net.pth'}\n"] * 2
    assert (cache / "weights" / "net.pth").read_bytes() == shop.payload
    assert shop.asked == [""]
    assert names(cache / "weights") == ["net.pth"]


@pytest.mark.fault("W6")
def test_w6_server_closing_half_way_leaves_no_final_file(entry: Entry, shop: Any, cache: Path) -> None:
    shop.ranges, shop.cuts = False, [len(shop.payload) // 2] * 9
    with pytest.raises(WeightsError):
        weights.obtain(entry, download=True)
    assert "net.pth" not in names(cache / "weights")
    assert len(shop.asked) == 4


@pytest.mark.fault("W6")
def test_w6_a_killed_download_leaves_no_lock_behind(
    entry: Entry, shop: Any, cache: Path, until: Callable[..., None]
) -> None:
    shop.hang = threading.Event()
    code = (
        "import sys; from salip_exp.networks.registry import Entry; from salip_exp.networks.weights import obtain;"
        "obtain(Entry('sam', 'vit_b', 'net.pth', sys.argv[1], (768,), sys.argv[2]), True)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, entry.sha256, shop.url], stderr=subprocess.DEVNULL)
    until(lambda: shop.asked, child)
    child.kill()
    child.wait()
    shop.hang.set()
    assert weights.obtain(entry, download=True).read_bytes() == shop.payload
    assert names(cache / "weights") == ["net.pth"]


@pytest.mark.fault("W7")
def test_w7_without_download_the_network_is_not_touched(shop: Any, cache: Path) -> None:
    entry = replace(find("sam", "vit_h"), url=shop.url)
    with pytest.raises(WeightsError) as fault:
        weights.obtain(entry, download=False)
    text = one_line(fault)
    assert fault.value.exit_code == 4
    assert shop.asked == []
    for part in (str(cache / "weights" / "sam_vit_h_4b8939.pth"), entry.sha256, "2,565 MB", shop.url, "download=false"):
        assert part in text
    assert not cache.exists()


@pytest.mark.fault("W7")
def test_w7_an_unreachable_server_names_file_place_hash_and_address(entry: Entry, cache: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        entry = replace(entry, url=f"http://127.0.0.1:{free.getsockname()[1]}/net.pth")
    with pytest.raises(WeightsError) as fault:
        weights.obtain(entry, download=True)
    text = one_line(fault)
    for part in ("sam=vit_b", str(cache / "weights" / "net.pth"), entry.sha256, str(entry.url), "cannot be reached"):
        assert part in text
    assert names(cache / "weights") == []


@pytest.mark.fault("R6")
def test_the_users_file_needs_its_hash_and_is_told_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"tuned")
    got = hashlib.sha256(b"tuned").hexdigest()
    with pytest.raises(WeightsError, match=f"add sam.sha256={got}"):
        weights.obtain(find("sam", "vit_b", str(mine)), download=True)
    assert weights.obtain(find("sam", "vit_b", str(mine), got.upper()), download=True) == mine


def test_an_absent_file_of_the_users_is_never_fetched(entry: Entry, shop: Any, tmp_path: Path) -> None:
    absent = replace(entry, path=tmp_path / "no.pth", users=True)
    with pytest.raises(WeightsError, match=r"sam.weights=.*no.pth: no such file"):
        weights.obtain(absent, download=True)
    assert shop.asked == []


def test_an_unwritable_cache_is_the_environments_fault(entry: Entry, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(EnvironmentFault, match="SALIP_CACHE") as fault:
        weights.obtain(entry, download=True)
    assert fault.value.exit_code == 6


def test_a_full_disk_is_noticed_before_the_download(entry: Entry, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: _Full)
    with pytest.raises(EnvironmentFault, match="1 MB are needed"):
        weights.obtain(entry, download=True)
    assert names(cache / "weights") == []


class _Full:
    free = 10


class TestRememberedHash:
    @pytest.fixture
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(weights, "_REMEMBER_FROM", 10)
        monkeypatch.setattr(weights, "_SETTLED_NS", -1)
        path = tmp_path / "large.pth"
        path.write_bytes(b"0123456789")
        return path

    @pytest.fixture
    def hashed(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        calls: list[Path] = []
        original = weights._hash
        monkeypatch.setattr(weights, "_hash", lambda path: calls.append(path) or original(path))
        return calls

    def test_an_unchanged_file_is_hashed_once(self, file: Path, hashed: list[Path]) -> None:
        first = weights.sha256_of(file)
        assert weights.sha256_of(file) == first == hashlib.sha256(b"0123456789").hexdigest()
        assert hashed == [file]

    def test_a_change_that_keeps_size_and_mtime_is_seen(self, file: Path) -> None:
        weights.sha256_of(file)
        before = file.stat()
        time.sleep(0.02)
        flip_bit(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.stat().st_mtime_ns == before.st_mtime_ns
        assert weights.sha256_of(file) == hashlib.sha256(file.read_bytes()).hexdigest()

    def test_a_file_changed_a_moment_ago_is_not_remembered(
        self, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(weights, "_SETTLED_NS", 60 * 10**9)
        weights.sha256_of(file)
        assert not (cache / "weights-sha256.json").exists()

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"x": 3}'])
    def test_a_damaged_memory_is_written_anew(self, file: Path, cache: Path, text: str) -> None:
        cache.mkdir()
        memory = cache / "weights-sha256.json"
        memory.write_text(text)
        sha256 = weights.sha256_of(file)
        assert json.loads(memory.read_text())[str(file)]["sha256"] == sha256
        assert names(cache) == ["weights-sha256.json"]

    def test_a_memory_that_cannot_be_written_only_costs_time(self, file: Path, cache: Path) -> None:
        cache.write_text("not a folder")
        assert weights.sha256_of(file) == hashlib.sha256(b"0123456789").hexdigest()


def test_the_cache_folder_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SALIP_CACHE", "~/kept")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.cache_folder() == tmp_path / "kept"
    monkeypatch.delenv("SALIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights.cache_folder() in (tmp_path / "xdg" / "salip_exp", tmp_path / "Library/Caches/salip_exp")


class Rogue(BaseHTTPRequestHandler):
    """A server that gives what nobody asked for, in the way that the path names."""

    def do_GET(self) -> None:
        with suppress(OSError):  # who asked has heard enough
            getattr(self, self.path.strip("/"))()

    def _begin(self, *headers: tuple[str, str], code: int = 200) -> None:
        self.send_response(code)
        for header in headers:
            self.send_header(*header)
        self.end_headers()

    def endless(self) -> None:
        self._begin()
        while True:
            self.wfile.write(bytes(1 << 16))

    def large(self) -> None:
        self._begin(("Content-Length", str(1 << 40)))

    def packed(self) -> None:
        body = gzip.compress(bytes(1 << 24))
        self._begin(("Content-Encoding", "gzip"), ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def circle(self) -> None:
        self._begin(("Location", self.path), ("Content-Length", "0"), code=302)

    def slow(self) -> None:
        self._begin()
        while not SLOW_ENDS.wait(0.01):
            self.wfile.write(b"x")

    def log_message(self, *args: Any) -> None:
        pass


SLOW_ENDS = threading.Event()


@pytest.fixture
def rogue(entry: Entry) -> Iterator[Callable[[str], Entry]]:
    """The entry, fetched from the rogue server in a way of its."""
    SLOW_ENDS.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rogue)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield lambda way: replace(entry, url=f"http://127.0.0.1:{server.server_port}/{way}")
    SLOW_ENDS.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.ci
@pytest.mark.fault("B3")
@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("endless", "gives more than the 1,024,000 bytes of net.pth, and nothing was kept"),
        ("large", "announces 1,099,511,627,776 bytes, more than the 1,024,000 of net.pth, and nothing was kept"),
        ("packed", "sends it in Content-Encoding 'gzip', which was not asked for, and nothing was kept"),
        ("circle", "the server redirects in a circle, or more than 5 times"),
        ("slow", "the server sends less than 60 kB a second"),
    ],
)
def test_what_no_server_should_give_is_named_and_bounded(
    rogue: Callable[[str], Entry], cache: Path, monkeypatch: pytest.MonkeyPatch, way: str, words: str
) -> None:
    monkeypatch.setattr(weights, "SLOW_S", 1.0)
    kept: list[int] = []
    refused = weights._refused

    def watched(entry: Entry, partial: Path, what: str) -> WeightsError:
        kept.append(weights._size(partial))
        return refused(entry, partial, what)

    monkeypatch.setattr(weights, "_refused", watched)
    with pytest.raises(WeightsError, match=re.escape(words)) as fault:
        weights.obtain(rogue(way), download=True)
    one_line(fault)
    assert all(size <= 1_024_000 for size in kept), "no more than the registered size ever lies on the disk"
    assert way == "slow" or names(cache / "weights") == []
    assert not (cache / "weights" / "net.pth").exists()
