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
    command = [sys.executable, "-m", "salip_exp", "+experiment=table6", *SMALL, *overrides]
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
