"""`+experiment=...` from the outside: the embedded networks, killed once, continued by the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = ["dataset.phantom.n=6", "dataset.limit=2", "dataset.volume.per_volume=1", "score.resamples=200", "figures=none"]


def started(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    chosen = [] if any(each.startswith("+experiment=") for each in overrides) else ["+experiment=table6"]
    small = [each for each in SMALL if each.partition("=")[0] not in {one.partition("=")[0] for one in overrides}]
    command = [sys.executable, "-m", "salip_exp", *chosen, *small, *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def records(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("outputs/cells/*/*/*/cases/*.json")}


@pytest.mark.slow
def test_the_command_continues_what_was_killed_and_says_what_it_took(tmp_path: Path) -> None:
    process = started(tmp_path)
    while len(records(tmp_path)) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = records(tmp_path)
    out, err = started(tmp_path).communicate()
    assert "Table 6: area filter off and on" in out, err
    assert "The paper's ordering" in out
    assert "\x1b" not in out
    assert "failed" not in err
    after = records(tmp_path)
    assert len(after) == 12
    assert {path: after[path] for path in before} == before
    study = json.loads((tmp_path / "outputs/experiments" / folder_name(tmp_path) / "study.json").read_text())
    assert study["counters"]["naive"]["encoder_calls"] == 12
    assert study["counters"]["computed"]["encoder_calls"] == 6
    refused = started(tmp_path, "dataset=phantom_hc18")
    assert refused.wait() == 2
    assert refused.stderr is not None and "data=phantoms or data=real" in refused.stderr.read()


def folder_name(folder: Path) -> str:
    (found,) = [path.name for path in (folder / "outputs/experiments").iterdir() if (path / "study.json").exists()]
    return found


@pytest.mark.ci
def test_failures_are_a_pool_of_cells_and_of_runs_of_before(tmp_path: Path) -> None:
    few = ["experiment.failures.datasets=[hc18]", "experiment.failures.stress=[crop]", "sam.points_per_side=4"]
    options = [*few, "experiment.failures.severities=[5]", "+experiment=failures", "dataset.limit=1"]
    process = started(tmp_path, *options)
    out, err = process.communicate()
    assert "What a confidence is worth" in out and "Wrong questions" in out, err
    assert process.returncode == 0
    study = json.loads((tmp_path / "outputs/experiments" / folder_name(tmp_path) / "study.json").read_text())
    assert [cell["column"] for cell in study["failures"]["cells"]] == [
        "clean",
        "crop:5",
        "asked for brain",
        "asked for lungs",
        "asked nonsense",
    ]
    run = next(cell["run"] for cell in study["failures"]["cells"] if cell["column"] == "crop:5")
    again = ["experiment.failures.datasets=[]", f"experiment.failures.runs=[outputs/{run}]", "hydra.run.dir=again"]
    process = started(tmp_path, *again, "+experiment=failures")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "the pool is of 0 of 0 cells and 1 run of before" in out
    assert "crop:5" in out and "embedded weights" in out and "phantoms: drawn" not in out
    assert "The runs of the pool" not in (tmp_path / "again" / "study.html").read_text()
