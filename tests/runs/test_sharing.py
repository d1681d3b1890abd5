"""Many workers make one run: the same numbers as one process, whoever dies on the way."""

from __future__ import annotations

import errno
import faulthandler
import fcntl
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from salip_exp._runs import runner
from salip_exp._runs.claims import Board
from salip_exp._runs.folder import State, read_run, write_status
from salip_exp._runs.shards import drop_plan, read_plan, write_plan
from salip_exp.config import ExecutorConfig
from salip_exp.errors import EnvironmentFault

FORK = multiprocessing.get_context("fork")
FAST = ExecutorConfig(workers=3, beat_s=0.1, dead_after_s=5.0)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def serial(fakes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("serial") / "run"
    assert fakes.run_fake(folder) == 0
    return folder


def work(fakes, folder: Path, shard: str = "auto", pause: float = 0.0, **changes) -> int:
    method = fakes.Threshold(pause=pause)
    return fakes.run_fake(folder, method=method, shard=shard, **{"executor": FAST, "resume": True} | changes)


def started(fakes, folder: Path, **changes):
    def child() -> None:
        os.setsid()
        faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)  # one that waits for ever says where
        os._exit(work(fakes, folder, **changes))

    process = FORK.Process(target=child)
    process.start()
    return process


def told(folder: Path) -> dict:
    summary = json.loads((folder / "summary.json").read_text())
    return {name: value for name, value in summary.items() if "second" not in name}


def test_one_worker_makes_the_run_that_one_process_makes(fakes, serial, tmp_path):
    assert work(fakes, tmp_path / "run") == 0
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)
    assert told(tmp_path / "run") == told(serial)
    assert {each.name for each in (tmp_path / "run").iterdir()} == {each.name for each in serial.iterdir()}
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["counters"] == json.loads((serial / "manifest.json").read_text())["counters"]
    assert [each["cases"] for each in manifest["workers"]] == [fakes.N]


def test_shares_of_a_run_are_made_one_after_another_and_the_last_ends_it(fakes, serial, tmp_path):
    for i in (1, 2, 3):
        assert not (tmp_path / "run" / "summary.json").exists()
        assert work(fakes, tmp_path / "run", shard=f"{i}/3", resume=False) == 0
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)


def test_a_part_that_is_made_leaves_no_run_that_says_it_is_running(fakes, tmp_path, capsys):
    assert work(fakes, tmp_path / "run", shard="2/3") == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    left = read_run(tmp_path / "run")
    assert left.label is State.interrupted
    assert left.why == "4 of 12 shards done; the same command with resume=true and without shard continues"
    assert "nothing is left of shard=2/3: 4 of 12 shards done" in capsys.readouterr().err
    other = Board(tmp_path / "run", read_plan(tmp_path / "run"), FAST)
    with other.take().held():
        assert read_run(tmp_path / "run").label is State.running


def test_a_part_that_is_made_says_nothing_of_a_run_in_which_others_are_at_work(fakes, tmp_path):
    assert work(fakes, tmp_path / "run", shard="1/3") == 0
    write_status(tmp_path / "run", State.running)
    other = Board(tmp_path / "run", read_plan(tmp_path / "run"), FAST, only=(2, 3))
    with other.take().held():
        assert work(fakes, tmp_path / "run", shard="3/3") == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "running"


def test_the_command_that_a_run_names_makes_all_of_it(fakes, tmp_path, monkeypatch):
    whole = ["python", "-m", "salip_exp", "dataset=fake", "hydra.run.dir=there"]
    part = ["shard=auto", "hydra.output_subdir=null", "resume=true", "progress=false", "executor.beat_s=5.0"]
    monkeypatch.setattr(fakes, "COMMAND", [*whole, *part])
    assert work(fakes, tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["command"] == " ".join(whole)


def test_a_run_says_by_whose_settings_it_was_summed_up(fakes, tmp_path):
    assert work(fakes, tmp_path / "run", shard="1/2", seed=1) == 0
    assert work(fakes, tmp_path / "run", shard="2/2", seed=2) == 0
    assert "seed: 2" in (tmp_path / "run" / "config.yaml").read_text().splitlines()
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["seed"] == 2


def test_workers_at_once_make_each_case_once(fakes, serial, tmp_path):
    workers = [started(fakes, tmp_path / "run", pause=0.01) for _ in range(3)]
    for each in workers:
        each.join()
    assert [each.exitcode for each in workers] == [0, 0, 0]
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["counters"]["encoder_calls"] == fakes.N
    assert sum(each["cases"] for each in manifest["workers"]) == fakes.N


def test_a_signal_lets_the_shard_go_and_the_next_worker_goes_on(fakes, serial, tmp_path, capsys):
    def ended(case) -> None:
        if case.case_id == "case_05":
            os.kill(os.getpid(), signal.SIGUSR1)

    code = fakes.run_fake(tmp_path / "run", method=fakes.Threshold(before=ended), shard="auto", executor=FAST)
    assert code == 128 + signal.SIGUSR1
    assert "stopped: 6 of 12 shards done; whoever makes the last ends the run" in capsys.readouterr().err
    left = read_run(tmp_path / "run")
    assert left.label is State.interrupted and len(list((tmp_path / "run" / "cases").iterdir())) == 6
    method = fakes.Threshold()
    assert fakes.run_fake(tmp_path / "run", method=method, shard="auto", executor=FAST) == 0
    assert method.seen[:6] == [f"case_{i:02d}" for i in range(6, fakes.N)]  # then those that are drawn
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)


def kills(fakes, folder: Path, n: int, at_once: int = 3) -> int:
    """Kill workers at random moments, n times, then let them finish; how many were started."""
    rng, workers, count = random.Random(1234), [], 0
    while n or not (folder / "summary.json").exists() or any(each.is_alive() for each in workers):
        workers = [each for each in workers if each.is_alive()]
        while len(workers) < at_once and not (n == 0 and (folder / "summary.json").exists()):
            workers.append(started(fakes, folder, pause=0.003, cases=cases_of(fakes)))
            count += 1
        time.sleep(rng.uniform(0, 0.1))
        if n:
            chosen = rng.choice(workers)
            chosen.kill()
            chosen.join()
            n -= chosen.exitcode == -signal.SIGKILL
    return count


def cases_of(fakes) -> list:
    return [fakes.make_case(i, f"case_{i:04d}") for i in range(300)]


def compare_after_kills(fakes, tmp_path: Path, n: int) -> None:
    assert fakes.run_fake(tmp_path / "serial", cases_of(fakes)) == 0
    kills(fakes, tmp_path / "run", n)
    rows = fakes.rows_without_seconds(tmp_path / "run")
    assert rows == fakes.rows_without_seconds(tmp_path / "serial")
    assert not list((tmp_path / "run" / "cases").glob(".*"))
    assert read_run(tmp_path / "run").label is State.finished


@pytest.mark.ci
def test_workers_that_are_killed_lose_nothing(fakes, tmp_path):
    compare_after_kills(fakes, tmp_path, 40)


@pytest.mark.slow
def test_a_thousand_kills_lose_nothing(fakes, tmp_path):
    compare_after_kills(fakes, tmp_path, 1000)


def test_a_case_that_kills_its_workers_is_given_up_and_the_others_are_made(fakes, tmp_path):
    def deadly(case) -> None:
        if case.case_id == "case_05":
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        child = FORK.Process(
            target=lambda: fakes.run_fake(
                tmp_path / "run", method=fakes.Threshold(before=deadly), shard="auto", executor=FAST, resume=True
            )
        )
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert fakes.run_fake(tmp_path / "run", shard="auto", executor=FAST, resume=True, max_failed=0.5) == 0
    records = {each.case_id: each for each in read_run(tmp_path / "run").records}
    assert records["case_05"].status == "failed(E_WORKER)" and "3 workers" in records["case_05"].message
    assert sum(each.failed for each in records.values()) == 1 and len(records) == fakes.N


def test_a_run_with_workers_in_it_is_not_begun_by_another_process(fakes, tmp_path):
    worker = started(fakes, tmp_path / "run", pause=0.3)
    while read_plan(tmp_path / "run") is None or not list(_claims(tmp_path / "run")):
        time.sleep(0.01)
    with pytest.raises(EnvironmentFault, match="in use by 1 worker"):
        fakes.run_fake(tmp_path / "run", resume=True, executor=FAST)
    assert read_run(tmp_path / "run").label is State.running
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert read_run(tmp_path / "run").label is State.killed
    assert fakes.run_fake(tmp_path / "run", resume=True, executor=FAST) == 0
    assert not (tmp_path / "run" / "shards").exists()


def _claims(folder: Path):
    plan = read_plan(folder)
    return Board(folder, plan, FAST).latest(range(len(plan.shards))) if plan else []


def test_a_worker_of_another_run_is_refused(fakes, tmp_path):
    assert work(fakes, tmp_path / "run", shard="1/3") == 0
    with pytest.raises(EnvironmentFault, match="holds a run already"):
        fakes.run_fake(tmp_path / "run", cases=fakes.default_cases()[:5], shard="2/3", executor=FAST)
    assert work(fakes, tmp_path / "run") == 0
    with pytest.raises(EnvironmentFault, match="holds a run already"):
        fakes.run_fake(tmp_path / "run", cases=fakes.default_cases()[:5], shard="2/3", executor=FAST)


def test_who_finds_the_run_being_ended_leaves_it_to_the_other(fakes, tmp_path):
    for i in (1, 2):
        assert work(fakes, tmp_path / "run", shard=f"{i}/3") == 0
    other = Board(tmp_path / "run", read_plan(tmp_path / "run"), FAST)
    with other.take_end().held():
        assert work(fakes, tmp_path / "run", shard="3/3") == 0
        assert not (tmp_path / "run" / "summary.json").exists()
    assert work(fakes, tmp_path / "run", shard="3/3") == 0
    assert read_run(tmp_path / "run").label is State.finished


def test_a_file_system_without_locks_will_do_and_the_run_is_ended_once(fakes, serial, tmp_path, monkeypatch):
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    workers = [started(fakes, tmp_path / "run", pause=0.01) for _ in range(3)]
    for each in workers:
        each.join()
    assert [each.exitcode for each in workers] == [0, 0, 0]
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)
    with pytest.raises(EnvironmentFault, match="cannot be locked"):
        fakes.run_fake(tmp_path / "other")


def test_a_plan_that_was_made_anew_is_worked_by(fakes, serial, tmp_path, monkeypatch):
    real = runner.work

    def overtaken(begun, board, stop) -> None:
        monkeypatch.setattr(runner, "work", real)
        drop_plan(tmp_path / "run")
        write_plan(tmp_path / "run", begun.run.identity, board.plan.shards)
        real(begun, board, stop)

    monkeypatch.setattr(runner, "work", overtaken)
    assert work(fakes, tmp_path / "run") == 0
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)


def test_the_end_that_a_worker_died_over_is_made_by_the_next(fakes, serial, tmp_path):
    def dies() -> None:
        runner._sum_up = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        work(fakes, tmp_path / "run")

    child = FORK.Process(target=dies)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL and not (tmp_path / "run" / "summary.json").exists()
    assert work(fakes, tmp_path / "run") == 0
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)


@pytest.mark.parametrize(
    ("error", "label"), [(SystemExit(143), State.interrupted), (EnvironmentFault("disk is full"), State.failed)]
)
def test_a_run_whose_last_worker_breaks_at_its_end_does_not_say_that_it_is_running(
    fakes, serial, tmp_path, monkeypatch, error, label
):
    def breaks(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_sum_up", breaks)
        with pytest.raises(type(error)):
            work(fakes, tmp_path / "run")
    left = read_run(tmp_path / "run")
    assert left.label is label and "143" not in left.why
    assert work(fakes, tmp_path / "run") == 0
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)


def test_a_run_in_which_another_is_at_work_is_not_said_to_have_broken(fakes, tmp_path, monkeypatch):
    assert work(fakes, tmp_path / "run", shard="1/2") == 0
    write_status(tmp_path / "run", State.running)
    monkeypatch.setattr(runner, "work", lambda *_: 1 / 0)
    other = Board(tmp_path / "run", read_plan(tmp_path / "run"), FAST)
    with other.take().held(), pytest.raises(ZeroDivisionError):
        work(fakes, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "running"


def test_a_record_that_is_gone_when_the_run_is_ended_is_made_again(fakes, serial, tmp_path):
    assert work(fakes, tmp_path / "run", shard="1/2") == 0
    next(iter((tmp_path / "run" / "cases").glob("*.json"))).unlink()
    assert work(fakes, tmp_path / "run", shard="2/2") == 0
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(serial)


def test_a_worker_that_comes_late_changes_nothing(fakes, tmp_path, capsys):
    assert work(fakes, tmp_path / "run") == 0
    before = fakes.contents(tmp_path / "run")
    assert work(fakes, tmp_path / "run") == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert fakes.contents(tmp_path / "run") == before
