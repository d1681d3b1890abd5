"""The table at the end of `-m`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from salip_exp._commands._jobs import show_jobs
from salip_exp._runs.folder import State, write_status
from salip_exp._settings.sweep import Job

DATA = ["dataset=phantom_hc18", "dataset.phantom.n=4", "figures=none", "progress=false"]


def table_of(done: subprocess.CompletedProcess[str], n: int) -> str:
    return done.stdout.rpartition(f"\n{n} jobs\n")[2]


def test_a_row_says_what_a_job_was_told_beside_the_others_and_how_it_ended(fakes, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fakes.run_fake(tmp_path / "good") == 0
    write_status(tmp_path / "bad", State.failed, message="a mask is damaged")
    write_status(tmp_path / "stopped", State.interrupted, done=3)
    (tmp_path / "cut").mkdir()
    capsys.readouterr()
    show_jobs(
        [
            Job(["sam=tiny", "area.threshold=0.5"], tmp_path / "good", 0),
            Job(["sam=tiny"], tmp_path / "bad", 3, "a mask is damaged"),
            Job(["sam=tiny", "+x=1"], tmp_path / "none", 2),
            Job(["sam=tiny", "seed=1"], tmp_path / "stopped"),
            Job(["sam=tiny", "seed=2"], tmp_path / "cut"),
            Job(["sam=tiny", "seed=3"]),
        ]
    )
    out = capsys.readouterr().out
    rows: list[str] = []  # a cell may take several lines
    for cells in (line.split("\u2502")[1:-1] for line in out.splitlines() if line.startswith("\u2502")):
        rows += [""] * bool(cells[1].strip())
        rows[-1] += " ".join(cells)
    rows = [" ".join(row.split()) for row in rows]
    assert len(rows) == 6
    assert "differs" not in out  # of one run alone there is a configuration
    assert all(each in rows[0] for each in ("area.threshold=0.5", "12", "0.722", "sam 1", "ok", "good"))
    assert all(each in rows[1] for each in ("default", "missing", "exit code 3: a mask is damaged"))
    assert "exit code 2: see above" in rows[2] and "not seen" in rows[2]
    assert "interrupted: after 3 cases" in rows[3]
    assert "its end is not seen from here" in rows[4]
    assert "not begun, as far as is seen from here" in rows[5]
    verdict = "1 of 6 jobs ended well; 5 did not, the highest exit code is 3, the end of 3 is not seen"
    assert out.splitlines()[-1] == verdict


@pytest.mark.ci
def test_several_runs_end_in_it(tmp_path):
    command = [sys.executable, "-m", "salip_exp", "-m", *DATA, "method=gt_sam,oracle"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, _, table = done.stdout.rpartition("\n2 jobs\n")
    assert before.endswith("differs     method: gt_sam, oracle") and "oracle + filter" in table
    assert "2 of 2 jobs ended well" in table
    assert not list(tmp_path.rglob(".jobs*"))


@pytest.mark.ci
@pytest.mark.parametrize(
    "launcher",
    [["joblib", "hydra.launcher.n_jobs=2"], ["submitit_local"], ["joblib", "hydra.sweeper.max_batch_size=1"]],
    ids=["joblib", "submitit_local", "one after another"],
)
def test_jobs_in_other_processes_are_in_it(launcher, tmp_path):
    """Also those in other folders, and those after one that failed."""
    values = [f"outputs={tmp_path}/a,{tmp_path}/b", "seed=-2,1", "method=gt_sam", f"hydra/launcher={launcher[0]}"]
    command = [sys.executable, "-m", "salip_exp", "-m", *DATA, *values, *launcher[1:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    table = table_of(done, 4)
    assert table.count("exit code 2:") == 2
    assert "2 of 4 jobs ended well; 2 did not, the highest exit code is 2" in table
    assert len(list(tmp_path.glob("[ab]/**/summary.json"))) == 2 and not list(tmp_path.rglob(".jobs*"))


@pytest.mark.ci
def test_a_job_whose_process_is_killed_elsewhere_is_called_so(tmp_path, until):
    values = [
        "method=gt_sam",
        "dataset.phantom.n=100",
        "seed=1,2,3",
        "cache=off",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
    ]
    command = [sys.executable, "-m", "salip_exp", "-m", *DATA, *values, "hydra.launcher.pre_dispatch=2"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    until(lambda: list(tmp_path.glob("outputs/*/*+seed-1/*/status.json")), run)
    status = next(tmp_path.glob("outputs/*/*+seed-1/*/status.json"))
    os.kill(json.loads(status.read_text())["pid"], signal.SIGKILL)
    out, err = run.communicate()
    assert run.returncode == 6
    assert "error: the launcher or sweeper stopped (TerminatedWorkerError" in err
    table = " ".join(out.rpartition("\n3 jobs\n")[2].split())
    assert "killed:" in table and "not begun" in table and "0 of 3 jobs ended well; 3 did not" in table


def test_hydras_distrust_of_our_callback_is_not_heard_and_of_others_is():
    """1.4 warns of each object that a configuration names; ours is named by our own file."""
    names = "salip_exp._settings.sweep.Telling", "salip_exp._settings.sweep.Other", "their.Telling"
    program = f"""
import warnings
import salip_exp._settings.sweep
for name in {names}:
    warnings.warn(f"hydra.utils.instantiate() resolved _target_='{{name}}' with no\\n_execution_whitelist_.")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heard = [line.partition("_target_=")[2] for line in done.stderr.splitlines() if "UserWarning: hydra" in line]
    assert heard == [f"{name!r} with no" for name in names[1:]]
