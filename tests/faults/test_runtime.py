"""Killed, interrupted, without room or rights: a real process meets each, and a rerun ends in the same numbers."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SECRETS = {"WANDB_API_KEY": "f" * 40, "AWS_SECRET_ACCESS_KEY": "topsecretkey", "HF_TOKEN": "hf_topsecrettoken"}


@pytest.fixture(scope="module")
def place(helpers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four good images and a whole run of them, to compare with."""
    folder = tmp_path_factory.mktemp("runtime")
    helpers.good(folder / "data")
    ended = helpers.program(*arguments(helpers, "whole"), cwd=folder, env=SECRETS)
    assert ended.code == 0, ended.err
    return folder


def arguments(helpers: Any, run: str, *more: str) -> tuple[str, ...]:
    return (*helpers.FOLDER, "dataset.root=data", f"hydra.run.dir={run}", "cache=off", *more)


def start(helpers: Any, place: Path, run: str, *more: str, **options: Any) -> subprocess.Popen[str]:
    """A run that has begun."""
    command = [sys.executable, "-W", "ignore", "-m", "salip_exp", *arguments(helpers, run, *more)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for(process: subprocess.Popen[str], path: Path, count: int = 1) -> bool:
    """Whether so many files came to match before the process ended."""
    while len(list(path.parent.glob(path.name))) < count:
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    return True


def same(helpers: Any, place: Path, run: str) -> None:
    assert helpers.rows(place / run) == helpers.rows(place / "whole")
    assert (place / run / "summary.json").read_bytes() == (place / "whole" / "summary.json").read_bytes()
    assert not list((place / run).rglob("*.tmp"))


@pytest.mark.fault("X1")
@pytest.mark.slow
def test_a_run_killed_after_every_case_ends_in_the_same_numbers(helpers: Any, place: Path) -> None:
    for count in (1, 2, 3):
        resume = ("resume=true",) if count > 1 else ()
        process = start(helpers, place, "killed", *resume)
        assert wait_for(process, place / "killed" / "cases" / "[!.]*.json", count)
        process.kill()
        process.communicate()
    ended = helpers.program(*arguments(helpers, "killed", "resume=true"), cwd=place)
    assert ended.code == 0, ended.err
    same(helpers, place, "killed")


@pytest.mark.fault("X2", "R8")
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_after_the_case_at_hand(helpers: Any, place: Path, number: int, code: int) -> None:
    run = f"signal{code}"
    process = start(helpers, place, run)
    assert wait_for(process, place / run / "cases" / "[!.]*.json")
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code
    assert "resume=true continues" in err
    assert "Traceback" not in err
    ended = helpers.program(*arguments(helpers, run, "resume=true"), cwd=place)
    assert ended.code == 0, ended.err
    same(helpers, place, run)


def small_files() -> None:
    """What a full disk is to a process: no file may grow past 8 kB, as the table of cases does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))


@pytest.mark.ci
@pytest.mark.fault("X3", "R1", "R8")
def test_a_full_disk_ends_with_6_and_the_run_continues_when_there_is_room(helpers: Any, place: Path) -> None:
    ended = helpers.program(*arguments(helpers, "full"), cwd=place, preexec_fn=small_files)
    assert ended.code == 6
    assert "make room" in ended.complaint
    for path in (place / "full").rglob("*.json"):
        json.loads(path.read_text())
    assert not list((place / "full").rglob("*.tmp"))
    assert len(list((place / "full" / "cases").glob("*.json"))) == 4
    ended = helpers.program(*arguments(helpers, "full", "resume=true"), cwd=place)
    assert ended.code == 0, ended.err
    same(helpers, place, "full")


IN_MOUNT = ["unshare", "--mount", "--map-root-user", "sh", "-c", 'mount -t tmpfs -o size=400k tmpfs "$0" && exec "$@"']


@pytest.mark.ci
@pytest.mark.fault("X3")
def test_a_full_file_system_ends_with_6(helpers: Any, place: Path) -> None:
    (place / "tiny").mkdir()
    if subprocess.run([*IN_MOUNT, "tiny", "true"], cwd=place, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    command = [sys.executable, "-W", "ignore", "-m", "salip_exp", *arguments(helpers, "tiny/run")]
    fill = f"head -c 380k /dev/zero >tiny/ballast; exec {' '.join(repr(each) for each in command)}"
    ended = subprocess.run(
        [*IN_MOUNT, "tiny", "sh", "-c", fill], cwd=place, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 6, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.ci
@pytest.mark.fault("X5", "R4")
def test_a_second_run_in_the_folder_ends_with_6_and_names_the_first(helpers: Any, place: Path) -> None:
    first = start(helpers, place, "shared")
    assert wait_for(first, place / "shared" / "status.json")
    first.send_signal(signal.SIGSTOP)  # so that it is there as long as it takes
    try:
        second = helpers.program(*arguments(helpers, "shared", "resume=true"), cwd=place)
        third = helpers.program(*arguments(helpers, "shared"), cwd=place)
    finally:
        first.send_signal(signal.SIGCONT)
    assert (second.code, third.code) in {(6, 6), (2, 6)}  # 2: there was no case yet to continue from
    assert f"in use by process {first.pid} on " in third.complaint
    first.communicate()
    assert first.returncode == 0
    same(helpers, place, "shared")


@pytest.mark.fault("X7", "R8")
@pytest.mark.parametrize("override", ["hydra.run.dir=file/run", "outputs=file/outputs", "cache.folder=file/cache"])
def test_a_place_that_cannot_be_written_ends_with_6_before_a_network_is_loaded(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path, override: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr("salip_exp._runs.lab.load_sam", never)
    (tmp_path / "file").write_text("in the way")
    ended = typed(*folder, f"dataset.root={data}", override)
    assert ended.code == 6
    assert "file" in ended.complaint
    if "cache" in override:
        checked = typed(*folder, f"dataset.root={data}", override, "task=check")
        assert checked.code == 6
        assert "cache=memory" in checked.out


@pytest.mark.fault("X7")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_ends_with_6(typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    for override in ("outputs=locked/outputs", "cache.folder=locked/cache"):
        assert typed(*folder, f"dataset.root={data}", override).code == 6


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that takes connections and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()
    for each in taken:
        each.close()


@pytest.mark.fault("X4")
@pytest.mark.slow
def test_wandb_without_answer_costs_a_run_its_patience_and_a_warning(helpers: Any, place: Path, mute: str) -> None:
    online = ("tracker=wandb", "tracker.mode=online", "tracker.patience_s=3")
    ended = helpers.program(
        *arguments(helpers, "tracked", *online), cwd=place, env={"WANDB_BASE_URL": mute, "WANDB_API_KEY": "0" * 40}
    )
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert helpers.rows(place / "tracked") == helpers.rows(place / "whole")


@pytest.mark.fault("X4")
@pytest.mark.parametrize("case", ["no key", "unreachable", "silent", "offline"])
def test_the_check_names_what_wandb_would_stumble_over(
    typed: Any,
    data: Path,
    folder: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    mute: str,
) -> None:
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", mute if case == "silent" else "http://127.0.0.1:9")
    if case != "no key":
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    mode = "offline" if case == "offline" else "online"
    told = ("tracker=wandb", f"tracker.mode={mode}", "tracker.patience_s=1", "check.json=true", "task=check")
    ended = typed(*folder, f"dataset.root={data}", *told)
    assert ended.code == 0
    found = [each for each in json.loads(ended.out)["findings"] if each["area"] == "tracker"]
    expected = {"no key": "warn", "unreachable": "warn", "silent": "ok", "offline": "ok"}[case]
    assert [each["level"] for each in found] == [expected]
    assert "0" * 40 not in ended.out


@pytest.mark.ci
@pytest.mark.fault("R10")
def test_no_secret_of_the_environment_reaches_a_file_of_the_run(place: Path) -> None:
    for path in (place / "whole").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [name for name, secret in SECRETS.items() if secret.encode() in content], path


@pytest.mark.ci
@pytest.mark.fault("X6")
def test_a_case_for_which_memory_does_not_suffice_fails_alone(
    typed: Any, data: Path, folder: tuple[str, ...], helpers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lack is real: the second case asks for more than an address space holds."""
    import torch

    from salip_exp.methods.salip import Salip

    real = Salip.predict

    def greedy(self: Salip, case: Any) -> Any:
        if case.case_id == "good_1":
            torch.empty(1 << 50)
        return real(self, case)

    monkeypatch.setattr(Salip, "predict", greedy)
    ended = typed(*folder, f"dataset.root={data}", "hydra.run.dir=run", "cache=off")
    assert ended.code == 5
    statuses = [row["status"] for row in helpers.rows(tmp_path / "run").values()]
    assert statuses == ["ok", "failed(E_OOM)", "ok", "ok"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    again = typed(*folder, f"dataset.root={data}", "hydra.run.dir=again", "cache=off")
    assert again.code == 0, again.err
    assert set(helpers.rows(tmp_path / "again")) == set(helpers.rows(tmp_path / "run"))


@pytest.mark.ci
@pytest.mark.fault("E12")
def test_without_a_home_folder_it_says_what_to_set(
    typed: Any, quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any) -> Any:
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "SALIP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    ended = typed("dataset=phantom_hc18", "dataset.phantom.n=1", *quick)
    assert ended.code == 6
    assert ended.complaint == "error: this user has no home folder to keep things in: set SALIP_CACHE=DIR\n"
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "kept"))
    assert typed("dataset=phantom_hc18", "dataset.phantom.n=1", *quick).code == 0
