"""Workers as jobs of a real SLURM of two nodes on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salip_exp._engines.base import Crew, engine
from salip_exp.config import ExecutorConfig, ExecutorName, SlurmConfig
from salip_exp.errors import ConfigError, EnvironmentFault

pytestmark = pytest.mark.ci


def begin(places: Any, logs: Path, n: int = 2, code: int = 0, **slurm: Any) -> Crew:
    config = ExecutorConfig(name=ExecutorName.slurm, workers=n, slurm=SlurmConfig(**slurm))
    return engine(config).start([places.command(str(code))] * n, logs)


def test_workers_begin_on_both_nodes_and_end_as_their_commands_do(
    slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    crew = begin(places, tmp_path / "logs", n=4)
    assert len(set(crew.ids)) == 4
    until(lambda: len(places.begun()) == 4)
    assert set(places.begun()) == {"n1", "n2"}
    assert set(crew.states().values()) == {"running"}
    until(lambda: {crew.last_line(id) for id in crew.ids} <= {"begun on n1", "begun on n2"})
    places.go()
    until(lambda: set(crew.states().values()) == {"finished"})
    assert {crew.last_line(id) for id in crew.ids} == {"done"}


def test_the_exit_code_of_a_worker_is_that_of_its_job(
    slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    places.go()
    crew = begin(places, tmp_path / "logs", n=1, code=3)
    (job,) = crew.ids
    until(lambda: crew.states() == {job: "failed(exit code 3)"})
    until(lambda: "ExitCode=3:0" in slurm.ask("scontrol", "show", "job", job))


def test_a_drained_node_and_a_killed_worker(
    slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    crew = begin(places, tmp_path / "logs", n=4)
    until(lambda: len(places.begun()) == 4)
    slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    os.kill(places.processes()[0], signal.SIGKILL)
    until(lambda: sum("without an exit code" in each for each in crew.states().values()) == 1)
    places.go()
    until(lambda: sorted(crew.states().values())[1:] == ["finished"] * 3)
    assert len(places.done()) == 3


def test_jobs_of_a_node_that_is_lost_begin_again_on_another(
    slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    crew = begin(places, tmp_path / "logs", n=3)
    until(lambda: len(places.begun()) == 3)
    lost = places.begun().count("n1")
    slurm.kill("n1")
    until(lambda: list(crew.states().values()).count("waiting") == lost)
    places.go()
    for job in crew.ids:
        until(lambda job=job: crew.states()[job] == "finished" or slurm.queued_again(job))
    until(lambda: set(crew.states().values()) == {"finished"})
    assert set(places.done()) == {"n2"}


def test_a_job_that_is_queued_again_begins_its_command_anew(
    slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    crew = begin(places, tmp_path / "logs", n=2)
    until(lambda: len(places.begun()) == 2)
    slurm.ask("scontrol", "requeue", crew.ids[0])
    until(lambda: slurm.queued_again(crew.ids[0]))
    until(lambda: len(places.begun()) == 3)
    places.go()
    until(lambda: set(crew.states().values()) == {"finished"})
    assert len(places.done()) == 2


def test_a_notice_queues_a_job_again_however_often(
    slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    crew = begin(places, tmp_path / "logs", n=1, time_min=2, signal_s=10)
    (job,) = crew.ids
    for times, name in enumerate(["USR1", "USR2"] * 2 + ["USR1"], start=1):
        until(lambda times=times: len(places.begun()) == times)
        slurm.ask("scancel", f"--signal={name}", job)
        until(lambda: slurm.queued_again(job))
        assert crew.states() == {job: "waiting"}
    until(lambda: len(places.begun()) == 6)
    assert crew.states() == {job: "running"}
    places.go()
    until(lambda: crew.states() == {job: "finished"})
    said = (tmp_path / "logs" / f"{job}_0_log.out").read_text()
    assert (said.count("let go for SIGUSR1"), said.count("let go for SIGUSR2")) == (3, 2)


def test_a_job_whose_time_is_up_is_queued_again(
    slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    crew = begin(places, tmp_path / "logs", n=1, time_min=1, signal_s=10, extra={"signal": "USR1@10"})
    (job,) = crew.ids
    until(lambda: len(places.begun()) == 1)
    until(lambda: slurm.queued_again(job))
    until(lambda: len(places.begun()) == 2)
    places.go()
    until(lambda: crew.states() == {job: "finished"})
    assert "let go for SIGUSR1" in (tmp_path / "logs" / f"{job}_0_log.out").read_text()


def test_a_stopped_crew_leaves_nothing(slurm: Any, places: Any, tmp_path: Path, until: Callable[..., None]) -> None:
    crew = begin(places, tmp_path / "logs", n=5)  # one more than there are places
    until(lambda: len(places.begun()) == 4 and "waiting" in crew.states().values())
    processes = places.processes()
    crew.stop()
    assert not slurm.ask("squeue", "--noheader")
    assert not [each for each in processes if Path(f"/proc/{each}").exists()]
    assert all("failed" in each for each in crew.states().values())
    crew.stop()


def test_what_slurm_refuses_is_said_in_one_line(slurm: Any, places: Any, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"invalid partition.*executor\.slurm\.partition") as raised:
        begin(places, tmp_path / "logs", partition="nowhere")
    assert "\n" not in str(raised.value)


def test_a_controller_that_does_not_answer_is_no_fault_of_what_was_asked(
    slurm: Any, places: Any, tmp_path: Path
) -> None:
    said = (slurm.folder / "slurm.conf").read_text()
    elsewhere = tmp_path / "slurm.conf"
    elsewhere.write_text(re.sub(r"(?<=SlurmctldPort=)\d+", "1", said))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(elsewhere))
        with pytest.raises(EnvironmentFault, match="scontrol ping") as raised:
            begin(places, tmp_path / "logs")
    assert "\n" not in str(raised.value)


def test_a_notice_longer_than_the_job_is_refused(slurm: Any, places: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"executor\.slurm\.signal_s"):
        begin(places, tmp_path / "logs", time_min=1, signal_s=60)


def test_jobs_of_hydras_own_launcher_are_in_the_table_of_m(slurm: Any, tmp_path: Path) -> None:
    """`hydra/launcher=submitit_slurm`: an array by SLURM, whose jobs tell the process that was typed."""
    data = ["dataset=phantom_hc18", "dataset.phantom.n=4", "figures=none", "progress=false", "threads=1", "device=cpu"]
    jobs = ["method=gt_sam", "seed=-2,1", "hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=null"]
    command = [sys.executable, "-m", "salip_exp", "-m", *data, *jobs, "hydra.launcher.partition=main"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 2, done.stderr
    table = done.stdout.rpartition("\n2 jobs\n")[2]
    assert "1 of 2 jobs ended well; 1 did not, the highest exit code is 2" in table
    assert len(list(tmp_path.glob("outputs/**/summary.json"))) == 1
    assert list(tmp_path.glob("outputs/**/.submitit/**/*_submission.sh")), "it went through sbatch"
