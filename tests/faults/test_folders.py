"""Output folders: of one thing and its cases, continued where that is true, and never written into another folder."""

from __future__ import annotations

import errno
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salip_exp import _files
from salip_exp._reports import listeners
from salip_exp._runs import _cases, runner
from salip_exp._runs.folder import read_json, read_run
from salip_exp._settings.folders import File, is_unfinished
from salip_exp.cache import _disk
from salip_exp.cache._base import Stage
from salip_exp.cache._disk import FileLocks
from salip_exp.errors import EnvironmentFault, Unwritable

pytestmark = pytest.mark.ci

RUN = ("hydra.run.dir=run", "cache=off")


def stopped_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A run that is stopped after so many cases, as by Ctrl-C."""
    real, done = _cases.write_record, []

    def write(*what: Any) -> None:
        real(*what)
        done.append(what)
        if len(done) == count:
            raise KeyboardInterrupt

    monkeypatch.setattr(_cases, "write_record", write)


@pytest.mark.fault("I1")
def test_pictures_of_images_that_were_replaced_are_not_drawn_and_it_is_said(
    typed: Any, data: Path, folder: tuple[str, ...], helpers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = listeners.write_figures

    def late(*what: Any) -> Any:  # between the last score and the first picture
        for number in range(3):
            helpers.add(data, f"good_{number}", 77 + number)
        return real(*what)

    monkeypatch.setattr(listeners, "write_figures", late)
    ended = typed(*folder, f"dataset.root={data}", *RUN, "figures=all")
    assert ended.code == 0, ended.err
    drawn = json.loads((tmp_path / "run" / "pictures.json").read_text())
    assert {each["case_id"] for kind in ("figures", "strips") for each in drawn[kind]} == {"good_3"}
    assert set(drawn["undrawn"]) == {"good_0", "good_1", "good_2"}
    said = "good_1: its image or mask was changed after it was scored; run again"
    assert said in ended.out and said in (tmp_path / "run" / "report.html").read_text()
    assert len(list((tmp_path / "run" / "figures").glob("all_*.png"))) == 1


@pytest.mark.fault("I2")
def test_table_page_and_summary_have_the_cases_that_the_run_has_when_it_ends(
    typed: Any, data: Path, folder: tuple[str, ...], helpers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stopped_after(patch, 3)
        ended = typed(*folder, f"dataset.root={data}", *RUN)
    assert (ended.code, ended.complaint) == (130, "error: interrupted; the same command with resume=true continues\n")
    for path in (data / "images" / "good_1.png", data / "masks" / "good_1_mask.png"):
        path.unlink()
    helpers.add(data, "new", 9)
    ended = typed(*folder, f"dataset.root={data}", *RUN, "resume=true")
    assert ended.code == 0
    assert ended.err.startswith("changed since this run began: no longer with good_1; now with new;")
    names = {"good_0", "good_2", "good_3", "new"}
    run, manifest = read_run(tmp_path / "run"), json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert set(helpers.rows(tmp_path / "run")) == {each.case_id for each in run.records} == names
    assert helpers.summary(tmp_path / "run")["overall"]["cases"] == 4
    assert manifest["resumed"] == {"reused": 2, "redone": [], "gone": ["good_1"]}
    page, script = ((tmp_path / "run" / name).read_text() for name in ("report.html", "cases.js"))
    assert "No longer in the data when the run continued, and in no figure: good_1" in page
    assert "good_1" not in script


@pytest.mark.fault("I2")
def test_a_run_that_lost_a_case_is_damaged_and_shows_no_case_of_another(fakes: Any, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    fakes.run_fake(run)
    fakes.run_fake(other, [fakes.make_case(i, f"case_{i:02d}", shift=1) for i in range(fakes.N)], sam=_sam())
    shutil.copy(other / "cases" / "case_05.json", run / "cases" / "case_05.json")
    found = read_run(run)
    assert (found.label, found.why) == ("damaged", "1 of its cases are missing, or were made from something else")
    assert "case_05" not in {each.case_id for each in found.records}


def _sam() -> Any:
    from salip_exp.config import SamConfig

    return SamConfig(name="tiny", points_per_side=7)


@pytest.mark.fault("I3", "I4")
@pytest.mark.parametrize("name", [File.status, File.report, File.case_script, File.summary, File.manifest])
def test_a_fault_after_the_last_case_is_continued_as_it_is_said(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real, writes = _files.write_bytes, []

    def full(path: Path, *what: Any) -> None:
        writes.append(path.name)
        if path.name == name and writes.count(File.case_table):
            raise OSError(28, "No space left on device")
        real(path, *what)

    with monkeypatch.context() as patch:
        patch.setattr(_files, "write_bytes", full)
        ended = typed(*folder, f"dataset.root={data}", *RUN)
    assert ended.code == 6
    assert ended.complaint.endswith("make room or get access; the same command with resume=true continues\n")
    ended = typed(*folder, f"dataset.root={data}", *RUN, "resume=true")
    assert ended.code == 0, ended.err
    assert read_run(tmp_path / "run").label == "finished"
    assert (tmp_path / "run" / "report.html").exists() and not is_unfinished(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["resumed"]["reused"] == 4
    assert typed(*folder, f"dataset.root={data}", *RUN, "resume=true").code == 2


@pytest.mark.fault("I4")
def test_nothing_is_said_of_going_on_where_no_case_was_finished(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "summarise", stop)
    monkeypatch.setattr(runner, "run_cases", stop)
    ended = typed(*folder, f"dataset.root={data}", *RUN)
    assert (ended.code, ended.complaint) == (130, "error: interrupted\n")
    assert read_run(tmp_path / "run").why == ""
    assert typed(*folder, f"dataset.root={data}", *RUN, "resume=true").code == 2


@pytest.mark.fault("I5")
@pytest.mark.parametrize("lost", ["run", "run/cases", "run/predictions"])
@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_folder_that_is_gone_or_another_ends_the_run_and_gets_nothing(
    typed: Any,
    data: Path,
    folder: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    lost: str,
) -> None:
    real, done, place = _cases.write_record, [], tmp_path / lost

    def write(*what: Any) -> None:
        real(*what)
        done.append(what)
        if len(done) == 2:
            place.rename(tmp_path / "elsewhere")
        if len(done) == 2 and how == "replaced":
            place.mkdir()
            (place / "status.json").write_text("of others")
        if how == "deleted":
            shutil.rmtree(tmp_path / "elsewhere", ignore_errors=True)

    monkeypatch.setattr(_cases, "write_record", write)
    ended = typed(*folder, f"dataset.root={data}", *RUN)
    assert ended.code == 6
    assert f"{place} was deleted, moved or replaced while this command worked in it" in ended.complaint
    assert "resume=true" not in ended.complaint
    assert len(done) == 2
    if how == "replaced":
        assert [each.name for each in place.iterdir()] == ["status.json"]
        assert (place / "status.json").read_text() == "of others"
    else:
        assert not place.exists()


@pytest.mark.fault("I6")
def test_drafts_of_dead_writers_go_at_the_next_claim_and_those_of_the_living_stay(
    fakes: Any, tmp_path: Path, process: Any
) -> None:
    run = tmp_path / "run"
    (run / "cases").mkdir(parents=True)
    dead = os.fork() or os._exit(0)
    os.waitpid(dead, 0)
    letters = "0123456789abcdef" * 2
    gone = [run / f".summary.json.{dead}-{letters}.tmp", run / "cases" / f".a.json.{os.getpid()}-{letters}.tmp"]
    old = run / f".report.html.{letters}.tmp"
    stays = [run / f".report.html.{os.getppid()}-{letters}.tmp", run / ".mine.tmp", run / f".x.{letters}.tmp"]
    for path in (*gone, old, *stays):
        path.write_text("half")
    os.utime(old, (1, 1))
    fakes.run_fake(run)
    assert not [path for path in (*gone, old) if path.exists()]
    assert all(path.exists() for path in stays)


@pytest.mark.fault("I7")
def test_the_chain_of_new_folders_is_synced_at_the_claim(
    fakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, synced = _files.sync_folder, []

    def sync(place: Path) -> None:
        synced.append(place)
        real(place)

    monkeypatch.setattr(_files, "sync_folder", sync)
    run = tmp_path / "outputs" / "set" / "run"
    fakes.run_fake(run)
    assert {run, *list(run.parents)[:3]} <= set(synced)
    assert synced.index(run) < synced.index(run / "cases")
    made = synced.index(run, synced.index(tmp_path))  # after cases/ and predictions/ were made in it
    assert made < synced.index(run / "cases")


def test_below_no_kept_folder_whatever_is_missing_is_made(tmp_path: Path) -> None:
    _files.atomic_write(tmp_path / "a" / "b" / "c", "x")
    assert (tmp_path / "a" / "b" / "c").read_text() == "x"
    _files.keep(tmp_path / "a")
    _files.atomic_write(tmp_path / "a" / "d" / "e" / "f", "x")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(EnvironmentFault) as caught:
        _files.atomic_write(tmp_path / "a" / "d" / "e" / "f", "x")
    assert not isinstance(caught.value, Unwritable)
    _files.let_go(tmp_path / "a")
    _files.atomic_write(tmp_path / "a" / "d" / "e" / "f", b"x")


HOLDER = """
import os, signal, sys
from pathlib import Path
from salip_exp._files import process_lock
with process_lock(Path(sys.argv[1])):
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def stopped_holder() -> Iterator[Callable[[Path], int]]:
    """Starts a process that takes a lock and is stopped; returns its number."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", HOLDER, str(path)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None and started[-1].stdout.readline() == "held\n"
        os.waitid(os.P_PID, started[-1].pid, os.WSTOPPED)
        return started[-1].pid

    yield start
    for each in started:
        each.kill()
        each.communicate()


@pytest.mark.fault("I9")
def test_who_waits_for_a_stopped_process_says_so_and_goes_on_without_it(
    stopped_holder: Callable[[Path], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped_holder(tmp_path / "table" / "ab.lock")
    monkeypatch.setattr(_files, "SAY_AFTER_S", 0.05)
    monkeypatch.setattr(_disk, "LOCK_WAIT_S", 0.2)
    locks = FileLocks(tmp_path)
    for _ in range(2):  # the second time nothing is waited for
        with locks.hold(Stage.table, "abcd"):
            pass
    said = capsys.readouterr().err
    assert said == (
        f"waiting for another process, which computes the same stage and holds {tmp_path}/table/ab.lock, "
        "0.2 seconds at most\n"
    )


@pytest.mark.fault("I9")
def test_a_folder_of_a_stopped_process_is_refused_and_it_is_said_how_that_one_goes_on(
    stopped_holder: Callable[[Path], int], fakes: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    pid = stopped_holder(run / ".lock")
    (run / "status.json").write_text(json.dumps({"state": "running", "pid": pid, "host": platform.node()}))
    with pytest.raises(EnvironmentFault, match=rf"in use by process {pid} on .*, which is stopped \(kill -CONT {pid}"):
        fakes.run_fake(run)


READ_ONLY = ["unshare", "--mount", "--map-root-user", "sh", "-c"]


@pytest.mark.fault("I10")
@pytest.mark.parametrize("task", ["run", "tune", "train"])
def test_a_folder_on_a_read_only_file_system_ends_with_6(process: Any, tmp_path: Path, task: str) -> None:
    (tmp_path / "shared").mkdir()
    mount = "mount -t tmpfs tmpfs shared && mkdir shared/study && mount -o remount,ro tmpfs shared"
    if subprocess.run([*READ_ONLY, mount], cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    method = ["method=unet"] if task == "train" else []
    words = [sys.executable, "-W", "ignore", "-m", "salip_exp", f"task={task}", *method, "dataset=phantom_hc18"]
    command = shlex.join([*words, "dataset.phantom.n=6", "hydra.run.dir=shared/study", "progress=false"])
    ended = subprocess.run(
        [*READ_ONLY, f"{mount} && {command}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 6, ended.stderr
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    assert "shared/study" in ended.stderr and "Read-only file system" in ended.stderr


@pytest.mark.fault("I11")
@pytest.mark.parametrize("name", ["summary.json", "manifest.json"])
def test_a_file_of_its_own_that_cannot_be_read_back_is_named_and_is_not_an_empty_one(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = _files.open_file

    def broken(path: Path, most: int) -> Any:
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, most)

    with monkeypatch.context() as patch:
        patch.setattr(_files, "open_file", broken)
        ended = typed(*folder, f"dataset.root={data}", *RUN)
    assert ended.code == 6
    assert f"run/{name} cannot be read (Input/output error): get access to it" in ended.complaint
    assert "resume=true" not in ended.complaint
    assert read_run(tmp_path / "run").label == "finished"


@pytest.mark.fault("I11")
def test_what_is_absent_or_damaged_is_nothing_and_what_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "folder.json").mkdir()
    assert read_json(tmp_path / "absent.json") is None and read_json(tmp_path / "damaged.json") is None
    with pytest.raises(EnvironmentFault, match=r"folder\.json cannot be read \(it is a folder and no regular file\)"):
        read_json(tmp_path / "folder.json")


OTHERS = {
    "study": ("task=tune", "tuning=random", "tuning.n_trials=2", "tuning.images=2", "tuning.draws=0"),
    "training": (
        *("task=train", "method=unet", "unet=quick", "unet.epochs=2", "unet.side=32", "unet.channels=[4,8]"),
        *("unet.epoch_images=4", "unet.batch=2"),
    ),
    "experiment": ("+experiment=table6", "dataset.phantom.n=6", "dataset.volume.per_volume=1", "dataset.limit=1"),
}


@pytest.mark.fault("I5")
@pytest.mark.parametrize("how", ["deleted", "replaced"])
@pytest.mark.parametrize("kind", OTHERS)
def test_the_folder_of_anything_else_that_is_gone_or_another_gets_nothing_either(
    typed: Any,
    data: Path,
    quick: tuple[str, ...],
    folder: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    how: str,
) -> None:
    real, done, place = _files.write_bytes, [], tmp_path / kind

    def write(path: Path, *rest: Any) -> None:
        real(path, *rest)
        done.extend([path] * (place in path.absolute().parents))
        if len(done) == 3 and place.exists() and not (tmp_path / "elsewhere").exists():
            place.rename(tmp_path / "elsewhere")
            if how == "replaced":
                place.mkdir()

    monkeypatch.setattr(_files, "write_bytes", write)
    told = quick if kind == "experiment" else (*folder, f"dataset.root={data}")
    ended = typed(*OTHERS[kind], *told, f"hydra.run.dir={kind}")
    assert ended.code == 6, ended.out + ended.err
    assert f"{place} was deleted, moved or replaced while this command worked in it" in ended.complaint
    assert len(done) == 3
    assert [each.name for each in place.iterdir()] == [] if how == "replaced" else not place.exists()
