"""The table at the end of `-m`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from salip_exp._commands._jobs import show_jobs
from salip_exp._runs.folder import State, write_status


def test_a_row_says_what_a_job_was_told_beside_the_others_and_how_it_ended(fakes, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fakes.run_fake(tmp_path / "good") == 0
    write_status(tmp_path / "bad", State.failed, message="a mask is damaged")
    capsys.readouterr()
    jobs = [
        (["sam=tiny", "area.threshold=0.5"], "good", 0),
        (["sam=tiny"], "bad", 3),
        (["sam=tiny", "+x=1"], "none", 2),
    ]
    show_jobs([(overrides, tmp_path / folder, code) for overrides, folder, code in jobs])
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith("\u2502")]
    assert len(rows) == 3
    assert "differs" not in out  # of one run alone there is a configuration
    assert all(each in rows[0] for each in ("area.threshold=0.5", "12", "0.722", "sam 1", "ok", "good"))
    assert all(each in rows[1] for each in ("default", "missing", "exit code 3: a mask is damaged"))
    assert "exit code 2: see above" in rows[2]
    assert out.splitlines()[-1] == "1 of 3 jobs ended well; 2 did not, the highest exit code is 3"


@pytest.mark.ci
def test_several_runs_end_in_it(tmp_path):
    data = ["dataset=phantom_hc18", "dataset.phantom.n=4", "figures=none", "progress=false"]
    command = [sys.executable, "-m", "salip_exp", "-m", *data, "method=gt_sam,oracle"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, _, table = done.stdout.rpartition("\n2 jobs\n")
    assert before.endswith("differs     method: gt_sam, oracle") and "oracle + filter" in table
    assert "2 of 2 jobs ended well" in table
