"""A kill or an error at any single write, rename, fsync or open costs a run, a study or a training nothing."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("injecting.py")


def injected(*arguments: str) -> str:
    if sys.platform != "linux" or not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("there is no C compiler, or no LD_PRELOAD")
    command = [sys.executable, "-W", "ignore", str(PROGRAM), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    return ended.stdout


@pytest.mark.parametrize("name", ["injecting", "soak"])
def test_without_a_part_all_are_meant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    module = importlib.import_module(name)
    assert module.told_by([]).parts == list(module.PARTS)
    assert module.told_by(["tune"]).parts == ["tune"]


@pytest.mark.ci
@pytest.mark.fault("I11")
def test_a_few_faults_of_a_run_leave_no_difference() -> None:
    said = injected("run", "--first", "60", "--every", "110", "--faults", "kill", "ENOSPC")
    assert "0 of them left a difference" in said


@pytest.mark.slow
@pytest.mark.fault("I11")
@pytest.mark.parametrize("part", ["run", "tune", "train"])
def test_faults_anywhere_leave_no_difference(part: str) -> None:
    said = injected(part, "--every", "7", "--first", "3")
    assert "0 of them left a difference" in said
