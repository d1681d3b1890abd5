"""Whole runs on a real SLURM and a real Ray: the numbers of one process, whatever is lost on the way."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.ci
SLICES = 48
RUN = [
    *("dataset=phantom_cc359", "dataset.phantom.n=12", "dataset.volume.per_volume=4", "sam.points_per_side=4"),
    *("figures=none", "score.resamples=100", "device=cpu", "threads=1", "progress=false", "cache=off"),
]
FOUR = ["executor.workers=4", "executor.shard_cases=4", "executor.beat_s=0.5", "executor.dead_after_s=5"]


def begin(folder: Path, *more: str, run: Sequence[str] = RUN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "salip_exp", *run, f"hydra.run.dir={folder}", *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    _, said = process.communicate(timeout=600)
    assert process.returncode == code, said
    return said


def rows(folder: Path) -> list[dict[str, str]]:
    """`cases.csv` but for seconds."""
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as stream:
        return [
            {key: value for key, value in row.items() if not key.startswith("seconds_")}
            for row in csv.DictReader(stream)
        ]


def finished(folder: Path) -> int:
    return len(list((folder / "cases").glob("[!.]*.json")))


def give_notice(slurm: Any, until: Callable[..., None]) -> None:
    """Tell all jobs that run, as SLURM does before their time is up, and wait until they are queued again."""
    jobs = slurm.ask("squeue", "--noheader", "--array", "--states=running", "--format=%i").split()
    for job in jobs:
        slurm.ask("scancel", "--signal=USR1", job)
    for job in jobs:
        until(lambda job=job: slurm.queued_again(job))


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("serial") / "run"
    end(begin(folder))
    found = rows(folder)
    assert len(found) == SLICES
    return found


def test_slurm_makes_the_run_that_one_process_makes(slurm: Any, serial: Any, tmp_path: Path) -> None:
    end(begin(tmp_path / "run", "executor=slurm", *FOUR))
    assert rows(tmp_path / "run") == serial


def test_a_drained_node_and_a_killed_task_change_nothing(
    slurm: Any, serial: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    folder = tmp_path / "run"
    run = begin(folder, "executor=slurm", *FOUR)
    until(lambda: finished(folder) >= 4, run)
    slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    (job, *_) = slurm.ask("squeue", "--noheader", "--array", "--states=running", "--format=%A").split()
    slurm.ask("scancel", "--signal=KILL", job)
    assert finished(folder) < SLICES
    end(run)
    assert rows(folder) == serial


def test_jobs_that_are_given_notice_go_on_later(
    slurm: Any, serial: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    folder = tmp_path / "run"
    run = begin(folder, "executor=slurm", *FOUR)
    until(lambda: finished(folder) >= 4, run)
    give_notice(slurm, until)
    assert finished(folder) < SLICES
    end(run)
    assert rows(folder) == serial


@pytest.mark.slow
def test_jobs_whose_time_is_up_go_on_later(slurm: Any, tmp_path: Path, until: Callable[..., None]) -> None:
    """A real limit of two minutes and a notice 20 seconds before it, under 48 slices that take longer."""
    heavy = ["sam.points_per_side=48"]
    end(begin(tmp_path / "serial", *heavy))
    limits = ["executor.slurm.time_min=2", "executor.slurm.signal_s=20"]
    run = begin(tmp_path / "run", "executor=slurm", "executor.workers=2", "executor.shard_cases=4", *heavy, *limits)
    requeued: set[tuple[str, str]] = set()

    def ended() -> bool:
        for job, times in slurm.restarts():
            if (job, times) not in requeued and slurm.queued_again(job):
                requeued.add((job, times))  # told once: SLURM starts a job anew that is told again
        return run.poll() is not None

    until(ended)
    end(run)
    assert requeued
    assert rows(tmp_path / "run") == rows(tmp_path / "serial")


def test_a_detached_run_needs_nobody(slurm: Any, serial: Any, tmp_path: Path, until: Callable[..., None]) -> None:
    folder = tmp_path / "run"
    said = end(begin(folder, "executor=slurm", "executor.detach=true", *FOUR))
    assert "4 workers queued" in said and "squeue" in said
    assert not (folder / "cases.csv").exists()
    until(lambda: (folder / "summary.json").exists())
    until(lambda: not slurm.ask("squeue", "--noheader"))
    assert rows(folder) == serial


def script_of_the_guide(folder: Path) -> str:
    """The guide's script for `sbatch`, with this run, this folder and four tasks in place of the reader's."""
    text = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text("utf-8")
    (script,) = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for old, new in {
        "--array=1-64": "--array=1-4",
        "--output=": f"--output={folder.parent}/",
        "python -m": f"{sys.executable} -m",
        "dataset=cc359 dataset.root=/data/cc359": " ".join([*RUN, *FOUR]),
        "/data/runs/cc359": str(folder),
    }.items():
        assert script.count(old) == 1, old
        script = script.replace(old, new)
    return script


def test_the_script_of_the_guide_queues_itself_again(
    slurm: Any, serial: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    folder, script = tmp_path / "run", tmp_path / "job.sh"
    script.write_text(script_of_the_guide(folder))
    slurm.ask("sbatch", str(script))
    until(lambda: finished(folder) >= 4)
    give_notice(slurm, until)
    assert finished(folder) < SLICES
    until(lambda: not slurm.ask("squeue", "--noheader"))
    assert rows(folder) == serial


def test_runs_of_a_sweep_go_to_slurm_by_hydra_s_own_launcher(slurm: Any, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    few = ["dataset.limit=2", "seed=1,2", f"outputs={tmp_path}", "hydra.launcher.timeout_min=10"]
    done = subprocess.run(
        [sys.executable, "-m", "salip_exp", "-m", *RUN, *few, "hydra/launcher=submitit_slurm"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 2


def test_ray_makes_the_run_that_one_process_makes_with_a_raylet_killed(
    ray_cluster: Any, serial: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    folder = tmp_path / "run"
    run = begin(folder, "executor=ray", f"executor.ray.address={ray_cluster.address}", *FOUR)
    until(lambda: finished(folder) >= 4, run)
    ray_cluster.kill("n1")
    assert finished(folder) < SLICES
    end(run)
    assert rows(folder) == serial


@pytest.mark.parametrize("kind", ["seeds", "organs"])
def test_several_runs_of_one_command_are_shared_by_workers(kind: str, tmp_path: Path) -> None:
    two = "dataset.files.labels={left: {label: 1, sentences: [a lump]}, right: {label: 2, k: 2, sentences: [a bar]}}"
    draw = {"seeds": "seeds=[1,2]", "organs": two}[kind]
    source = {
        "seeds": ["dataset=phantom_hc18", "dataset.phantom.n=6", "dataset.sample=4"],
        "organs": folder_of_two(tmp_path),
    }
    more = [*source[kind], draw]
    plain = [each for each in RUN if not each.startswith("dataset")]
    end(begin(tmp_path / "one", *more, run=plain))
    end(
        begin(tmp_path / "many", *more, "executor=processes", "executor.workers=2", "executor.shard_cases=1", run=plain)
    )
    table = {"seeds": "spread.csv", "organs": "organs.csv"}[kind]
    assert (tmp_path / "many" / table).read_bytes() == (tmp_path / "one" / table).read_bytes()
    runs = [each.relative_to(tmp_path / "one").parent for each in (tmp_path / "one").rglob("cases.csv")]
    assert len(runs) == 2
    for each in runs:
        assert rows(tmp_path / "many" / each) == rows(tmp_path / "one" / each)
        manifest = json.loads((tmp_path / "many" / each / "manifest.json").read_text("utf-8"))
        assert sum(worker["cases"] for worker in manifest["workers"]) == len(rows(tmp_path / "one" / each))


def folder_of_two(folder: Path) -> list[str]:
    """Overrides for two pictures, each with two organs side by side."""
    for name in ("a", "b"):
        array = np.zeros((64, 64), np.uint8)
        array[20:50, 16:32], array[20:50, 32:44] = 1, 2
        for part, values in (("images", 90 * array), ("masks", array)):
            (folder / "data" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / "data" / part / f"{name}.png")
    return ["sam=tiny", "clip=tiny", "dataset=folder", f"dataset.root={folder / 'data'}"]
