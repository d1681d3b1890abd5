"""Workers as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salip_exp._engines.base import Crew, engine
from salip_exp.config import ExecutorConfig, ExecutorName


def begin(places: Any, logs: Path, n: int = 2, code: int = 0, **executor: Any) -> Crew:
    return engine(ExecutorConfig(name=ExecutorName.processes, workers=n, **executor)).start(
        [places.command(str(code))] * n, logs
    )


def test_workers_end_as_their_commands_do(places: Any, tmp_path: Path, until: Callable[..., None]) -> None:
    crew = begin(places, tmp_path / "logs", code=3)
    until(lambda: len(places.begun()) == 2)
    assert set(crew.states().values()) == {"running"}
    until(lambda: {crew.last_line(id) for id in crew.ids} == {"begun on here"})
    os.kill(int(crew.ids[0]), signal.SIGKILL)
    places.go()
    until(lambda: crew.states() == {crew.ids[0]: "failed(exit code 137)", crew.ids[1]: "failed(exit code 3)"})
    assert crew.last_line(crew.ids[1]) == "done"


def test_a_stopped_crew_has_let_go(places: Any, tmp_path: Path, until: Callable[..., None]) -> None:
    crew = begin(places, tmp_path / "logs")
    until(lambda: len(places.begun()) == 2)
    crew.stop()
    assert set(crew.states().values()) == {"failed(exit code 143)"}
    assert {crew.last_line(id) for id in crew.ids} == {"let go for SIGTERM"}
    crew.stop()


def test_each_worker_sees_one_gpu_in_turn(
    tmp_path: Path, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MY_TOKEN", "secret")
    (tmp_path / "shows.py").write_text("import os; print(os.environ['CUDA_VISIBLE_DEVICES'], 'MY_TOKEN' in os.environ)")
    crew = engine(ExecutorConfig(name=ExecutorName.processes, gpus=[0, 5])).start([["-m", "shows"]] * 3, tmp_path)
    until(lambda: set(crew.states().values()) == {"finished"})
    assert [crew.last_line(id) for id in crew.ids] == ["0 False", "5 False", "0 False"]


STARTER = """
import sys, time
from pathlib import Path
from salip_exp._engines.base import engine
from salip_exp.config import ExecutorConfig, ExecutorName
config = ExecutorConfig(name=ExecutorName.processes)
engine(config).start([["-m", "stand_in", sys.argv[1]]], Path(sys.argv[1], "logs"))
time.sleep(3600)
"""


def test_a_worker_ends_with_its_parent(places: Any, until: Callable[..., None]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", STARTER, str(places.folder)])
    until(lambda: len(places.begun()) == 1, parent)
    parent.kill()
    parent.wait()
    until(lambda: "let go for SIGTERM" in (places.folder / "logs" / "worker-0.log").read_text())
