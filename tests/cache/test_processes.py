"""Real processes that share a cache, are killed, or lose their disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from salip_exp.cache import _files as files
from salip_exp.cache._fetch import fetch
from salip_exp.cache._files import entries, entry_path, leftovers
from salip_exp.cache.store import DiskStore, Stage

GB = 10**9
IN_MOUNT = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=300k none "$0" && exec "$@"')
"""Runs a command, its first argument a folder, with a file system of 300 kB in that folder; gone when it ends."""

Start = Callable[..., "subprocess.Popen[str]"]
Until = Callable[..., None]


def finish(process: subprocess.Popen[str]) -> list[str]:
    """What a worker printed before its `ok`."""
    out, err = process.communicate()
    assert process.returncode == 0 and not err, out + err
    *lines, last = out.splitlines()
    assert last == "ok", out
    return lines


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach, as those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def lock_down(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def let_go(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.ci
def test_four_processes_compute_each_entry_once(start: Start, worker: ModuleType, tmp_path: Path):
    log = tmp_path / "log"
    workers = [start("entries", tmp_path / "cache", log, seed) for seed in range(4)]
    assert [finish(each) for each in workers] == [[]] * 4
    assert sorted(lines(log)) == sorted(worker.KEYS)
    assert finish(start("entries", tmp_path / "cache", log, 9)) == []
    assert len(lines(log)) == 10
    assert len(entries(tmp_path / "cache")) == 10


@pytest.mark.ci
def test_four_processes_add_rows_to_one_entry(start: Start, worker: ModuleType, tmp_path: Path):
    log, seeds = tmp_path / "log", range(4)
    workers = [start("rows", tmp_path / "cache", log, seed) for seed in seeds]
    assert [finish(each) for each in workers] == [[]] * 4
    half = worker.ROWS // 2
    wanted = {*range(half), *(worker.ROWS * (seed + 1) + i for seed in seeds for i in range(half))}
    assert Counter(map(int, lines(log))) == dict.fromkeys(wanted, 1)
    kept = DiskStore(tmp_path / "cache", GB).get(Stage.view, worker.TABLE)
    assert kept is not None
    found = {bytes(name): row for name, row in zip(kept["row_keys"], kept["x"], strict=True)}
    assert len(found) == len(wanted)
    assert all(np.array_equal(found[worker.row_key(i)], worker.row_value(i)) for i in wanted)


@pytest.mark.ci
def test_stages_compute_out_of_one_another_in_threads_and_processes(start: Start, tmp_path: Path):
    log = tmp_path / "log"
    workers = [start("nested", tmp_path / "cache", log) for _ in range(3)]
    assert [finish(each) for each in workers] == [[]] * 3
    assert lines(log) == ["embedding"]


@pytest.mark.ci
def test_a_process_killed_while_it_computes_does_not_stop_the_next(
    start: Start, worker: ModuleType, tmp_path: Path, until: Until
):
    cache, log, others = tmp_path / "cache", tmp_path / "log", tmp_path / "others"
    holder = start("hold", cache, log)
    until(lambda: lines(log) == ["begun"])
    waiting = [start("entries", cache, others, seed) for seed in range(2)]
    until(lambda: len(lines(others)) >= 1)  # another slot's entry: the two are at work
    time.sleep(0.5)
    assert worker.KEYS[0] not in lines(others)
    assert all(each.poll() is None for each in waiting)
    holder.kill()
    assert [finish(each) for each in waiting] == [[]] * 2
    assert sorted(lines(others)) == sorted(worker.KEYS)


@pytest.mark.ci
@pytest.mark.fault("R1", "X1")
def test_processes_killed_while_they_write_leave_whole_entries(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Until
):
    cache, chance = tmp_path / "cache", random.Random(7)
    for round_ in range(4):
        log = tmp_path / f"log {round_}"
        writers = [start("scribble", cache, log, seed) for seed in range(2)]
        until(lambda log=log: len(lines(log)) == 2 and entries(cache))
        time.sleep(chance.uniform(0.05, 0.3))
        for each in writers:
            each.kill()
            each.wait()
    store = DiskStore(cache, GB)
    assert entries(cache)
    assert all(store.get(item.stage, item.key) is not None for item in entries(cache))
    assert store.stats[Stage.clean].damaged == 0
    monkeypatch.setattr(files, "STALE_S", 0.0)
    files.evict(cache, GB)
    assert not leftovers(cache)
    assert not [path for path in (cache / "stages").rglob("*") if path.name.endswith(".tmp")]


@contextmanager
def stopped(processes: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """Processes stand still inside the `with` block."""
    running = [each for each in processes if each.poll() is None]
    for each in running:
        os.kill(each.pid, signal.SIGSTOP)  # Popen.send_signal would take the news of one that has ended
        os.waitid(os.P_PID, each.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    yield
    for each in running:
        os.kill(each.pid, signal.SIGCONT)


@pytest.mark.ci
def test_the_budget_holds_while_several_write(start: Start, tmp_path: Path):
    cache, most = tmp_path / "cache", 0
    workers = [start("fill", cache, tmp_path / "log", seed) for seed in range(3)]
    while any(each.poll() is None for each in workers):
        with stopped(workers):  # files that come and go during the count would be counted together
            most = max(most, sum(item.size for item in entries(cache)))
        time.sleep(0.02)
    assert [finish(each) for each in workers] == [[]] * 3
    assert 500_000 < most <= 1_000_000 * (1 + 3 * 0.06)  # each looks after every 5 % that it writes
    assert sum(item.size for item in entries(cache)) <= 1_000_000 * (1 + 3 * 0.06)


@pytest.mark.ci
@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
@pytest.mark.fault("X3")
def test_a_limit_of_file_sizes_is_told_once_and_the_values_are_right(start: Start, tmp_path: Path):
    told, counted = finish(start("limited", tmp_path / "cache", tmp_path / "log"))
    assert told.startswith("WARNING") and "cannot be written (File too large)" in told
    assert counted == "unwritten 7"
    assert len(entries(tmp_path / "cache")) == 3
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def mounts(folder: Path) -> bool:
    folder.mkdir()
    found = shutil.which("unshare") and subprocess.run([*IN_MOUNT, folder, "true"], capture_output=True, check=False)
    return bool(found) and found.returncode == 0  # type: ignore[union-attr]


@pytest.mark.ci
@pytest.mark.fault("X3")
def test_a_full_file_system_is_told_once_and_the_values_are_right(start: Start, tmp_path: Path):
    if not mounts(tmp_path / "small"):
        pytest.skip("this user cannot mount a file system")
    small = tmp_path / "small"
    told, counted = finish(start("full", small, tmp_path / "log", before=(*IN_MOUNT, str(small))))
    assert told.startswith("WARNING") and "cannot be written (No space left on device)" in told
    assert 50 < int(counted.removeprefix("unwritten ")) < 100


@pytest.mark.ci
@pytest.mark.skipif(sys.platform == "win32", reason="no permissions of folders")
def test_a_folder_that_may_only_be_read_serves_what_it_holds(start: Start, worker: ModuleType, open_folder: Path):
    cache, key = open_folder / "cache", worker.KEYS[0]
    fetch(DiskStore(cache, GB), Stage.table, key, lambda: worker.value(key))
    damaged = entry_path(cache, Stage.table, worker.KEYS[1])
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"text")
    lock_down(cache)
    try:
        told = finish(start("read_only", cache, open_folder / "log"))
        (refused,) = finish(start("opened", cache, open_folder / "log"))
    finally:
        let_go(cache)
    assert len(told) == 3 and all(line.startswith("WARNING") for line in told)
    assert [
        word for word in ("damaged", "no locks", "cannot be written") if not any(word in line for line in told)
    ] == []
    assert refused.startswith(f"the cache folder {cache} cannot be written (Permission denied)")
    assert damaged.exists() and len(entries(cache)) == 2
