"""Workers that a command starts: watched, replaced, ended with it, and their errors are its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from salip_exp import _crew
from salip_exp._crew import run_shared, worker_command
from salip_exp._runs.folder import State, read_run
from salip_exp.config import ExecutorConfig, ExecutorName
from salip_exp.errors import EnvironmentFault, TooManyFailures, WeightsError

FORK = multiprocessing.get_context("fork")
EXECUTOR = ExecutorConfig(name=ExecutorName.processes, workers=2, beat_s=0.1, dead_after_s=5.0)


class Forks:
    """A crew of forked processes; each says what it was told to."""

    def __init__(self, works: list[Callable[[], int]], said: str) -> None:
        self.said = said
        self.started = [FORK.Process(target=self._go, args=(each,)) for each in works]
        for each in self.started:
            each.start()

    @staticmethod
    def _go(work: Callable[[], int]) -> None:
        os.setsid()
        os._exit(work())

    @property
    def ids(self) -> list[str]:
        return [str(each.pid) for each in self.started]

    def states(self) -> dict[str, str]:
        codes = {str(each.pid): None if each.is_alive() else each.exitcode for each in self.started}
        words = {None: "running", 0: "finished"}
        return {id: words.get(code, f"failed(exit code {code if (code or 0) > 0 else 128 - (code or 0)})")
                for id, code in codes.items()}  # fmt: skip

    def last_line(self, id: str) -> str:
        return self.said

    def stop(self) -> None:
        for each in self.started:
            each.terminate()
            each.join()


@pytest.fixture
def engine(monkeypatch):
    """Makes the engine one of forks that do this; returns the crews that were started."""
    monkeypatch.setattr(_crew, "_LOOK_S", 0.05)

    def use(work: Callable[[int], int], said: str = "error: it went wrong") -> list[Forks]:
        crews: list[Forks] = []

        class Engine:
            how_to_look, how_to_stop = "look", "stop"

            def start(self, commands, logs) -> Forks:
                first = sum(len(each.ids) for each in crews)
                crews.append(Forks([lambda n=first + i: work(n) for i in range(len(commands))], said))
                return crews[-1]

        monkeypatch.setattr(_crew, "engine", lambda config: Engine())
        return crews

    return use


def shared(fakes, folder: Path, **changes) -> int:
    config = fakes.config(executor=EXECUTOR, **changes)
    return run_shared(config, folder, fakes.COMMAND)


def worker(fakes, folder: Path, **changes) -> int:
    return fakes.run_fake(folder, shard="auto", executor=EXECUTOR, resume=True, **changes)


def test_a_worker_is_told_the_command_as_a_part_of_it(tmp_path):
    typed = ["python", "-m", "salip_exp", "dataset=xray", "executor=slurm", "executor.slurm.partition=gpu",
             "executor.workers=7", "resume=true", "hydra.run.dir=there", "--config-dir", "mine"]  # fmt: skip
    told = worker_command(typed, tmp_path, ExecutorConfig(name=ExecutorName.slurm, workers=7, shard_cases=5))
    assert told[:5] == ["-m", "salip_exp", "dataset=xray", "--config-dir", "mine"]
    assert set(told[5:]) == {
        f"hydra.run.dir={tmp_path}", "hydra.output_subdir=null", "shard=auto", "resume=true", "progress=false",
        "executor.workers=7", "executor.shard_cases=5", "executor.beat_s=5.0", "executor.dead_after_s=60.0",
    }  # fmt: skip
    assert worker_command(["salip-exp", "dataset=xray"], tmp_path, EXECUTOR)[2] == "dataset=xray"


def test_workers_with_gpus_of_their_own_do_without_none(tmp_path):
    two = ExecutorConfig(name=ExecutorName.processes, gpus=[0, 1])
    assert "device=cuda" in worker_command(["salip-exp", "dataset=xray"], tmp_path, two)
    told = worker_command(["salip-exp", "device=cpu"], tmp_path, two)
    assert "device=cpu" in told and "device=cuda" not in told
    assert "device=cuda" not in worker_command(["salip-exp", "dataset=xray"], tmp_path, EXECUTOR)


def test_a_run_by_workers_is_that_of_one_process(fakes, tmp_path, engine):
    assert fakes.run_fake(tmp_path / "serial") == 0
    crews = engine(lambda n: worker(fakes, tmp_path / "run"))
    assert shared(fakes, tmp_path / "run") == 0
    assert fakes.rows_without_seconds(tmp_path / "run") == fakes.rows_without_seconds(tmp_path / "serial")
    assert [len(each.ids) for each in crews] == [2]
    assert json.loads((tmp_path / "run" / "crew.json").read_text())["ids"] == crews[0].ids


def test_workers_that_are_killed_are_replaced(fakes, tmp_path, engine):
    def work(n: int) -> int:
        if n < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return worker(fakes, tmp_path / "run")

    crews = engine(work)
    assert shared(fakes, tmp_path / "run") == 0
    assert sum(len(each.ids) for each in crews) == 5
    assert len(read_run(tmp_path / "run").records) == fakes.N


def test_workers_that_are_killed_without_end_end_the_command(fakes, tmp_path, engine):
    crews = engine(lambda n: os.kill(os.getpid(), signal.SIGKILL) or 0)
    with pytest.raises(EnvironmentFault, match="lost one after another"):
        shared(fakes, tmp_path / "run")
    assert sum(len(each.ids) for each in crews) <= 2 + 3 * EXECUTOR.workers


def test_what_ends_all_workers_is_the_commands_own_error(fakes, tmp_path, engine):
    engine(lambda n: WeightsError.exit_code, "error: weights are missing")
    with pytest.raises(WeightsError, match="one said: weights are missing"):
        shared(fakes, tmp_path / "run")


def test_a_folder_that_was_moved_is_what_is_said_and_not_made_again(fakes, tmp_path, engine):
    def moved(n: int) -> int:
        if n == 0:
            (tmp_path / "run").rename(tmp_path / "there")
        return EnvironmentFault.exit_code

    engine(moved, "")
    with pytest.raises(EnvironmentFault, match="moved or replaced"):
        shared(fakes, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_many_failures_are_those_of_the_whole_run(fakes, tmp_path, engine):
    def fail(case) -> None:
        if case.case_id in ("case_01", "case_02"):
            raise ValueError("bad")

    def work(n: int) -> int:
        try:
            return worker(fakes, tmp_path / "run", method=fakes.Threshold(before=fail))
        except TooManyFailures:
            return TooManyFailures.exit_code

    engine(work)
    with pytest.raises(TooManyFailures, match="2 of 12 cases failed"):
        shared(fakes, tmp_path / "run")


def test_a_signal_ends_the_workers_and_the_same_command_goes_on(fakes, tmp_path, engine):
    crews = engine(lambda n: worker(fakes, tmp_path / "run", method=fakes.Threshold(pause=0.2)))
    real = _crew.time.sleep

    def interrupted(seconds: float) -> None:
        real(seconds)
        if list((tmp_path / "run").glob("cases/*.json")):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_crew.time, "sleep", interrupted)
        assert shared(fakes, tmp_path / "run") == 143
    assert not any(each.is_alive() for crew in crews for each in crew.started)
    left = read_run(tmp_path / "run")
    assert left.label is State.interrupted and left.why.startswith(f"after {len(left.records)} cases")
    engine(lambda n: worker(fakes, tmp_path / "run"))
    assert shared(fakes, tmp_path / "run", resume=True) == 0
    assert len(read_run(tmp_path / "run").records) == fakes.N


@pytest.mark.parametrize("begun", [False, True])
def test_workers_that_cannot_be_started_leave_no_run_that_waits_for_them(fakes, tmp_path, monkeypatch, begun):
    class Engine:
        def start(self, commands, logs):
            raise EnvironmentFault("the queue is not there")

    monkeypatch.setattr(_crew, "engine", lambda config: Engine())
    if begun:
        assert fakes.run_fake(tmp_path / "run", shard="1/3", executor=EXECUTOR) == 0
    with pytest.raises(EnvironmentFault, match="not there"):
        shared(fakes, tmp_path / "run", resume=True)
    left = read_run(tmp_path / "run")
    assert left.label is (State.failed if begun else State.damaged) and ("the queue" in left.why) is begun
    assert (tmp_path / "run" / "status.json").exists() is begun


def test_detached_it_returns_when_the_workers_are_queued(fakes, tmp_path, engine, capsys, monkeypatch):
    crews = engine(lambda n: worker(fakes, tmp_path / "run"))
    monkeypatch.setattr(EXECUTOR, "detach", True)
    assert shared(fakes, tmp_path / "run") == 0
    said = capsys.readouterr().err
    assert "2 workers queued" in said and "task=status" in said and crews[0].ids[0] in said
    for each in crews[0].started:
        each.join()
    assert read_run(tmp_path / "run").label is State.finished


@pytest.mark.ci
def test_the_command_itself_with_processes(tmp_path):
    data = ["dataset=phantom_hc18", "dataset.phantom.n=8", "cache=off", "figures=none", "threads=1"]
    for executor, folder in (("serial", "serial"), ("processes", "run")):
        command = [
            sys.executable,
            "-m",
            "salip_exp",
            *data,
            f"executor={executor}",
            f"hydra.run.dir={tmp_path / folder}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "DSC" in done.stdout
    import pandas as pd

    tables = [pd.read_csv(tmp_path / folder / "cases.csv") for folder in ("serial", "run")]
    kept = [each[[name for name in each if not name.startswith("seconds")]] for each in tables]
    pd.testing.assert_frame_equal(*kept, check_exact=True)
    assert (tmp_path / "run" / "workers" / "0" / "worker-1.log").exists()
    status = [sys.executable, "-m", "salip_exp", "task=status", str(tmp_path / "run")]
    assert "finished" in subprocess.run(status, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
