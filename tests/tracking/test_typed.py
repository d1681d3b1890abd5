"""`tracker=wandb` typed: the whole cascade on brain phantoms, and several runs in one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
GROUPS = {"GE 1.5", "GE 3", "Philips 1.5", "Philips 3", "Siemens 1.5", "Siemens 3"}


def typed(place: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """A command, typed by somebody without a key, in a folder of its own."""
    place.mkdir()
    unset = {"WANDB_API_KEY", "WANDB_BASE_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": str(place), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "salip_exp", "progress=false", "tracker=wandb", *overrides]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment)


def test_the_six_groups_of_a_brain_run_are_those_of_its_summary(tmp_path, wandb_file):
    place = tmp_path / "brain"
    done = typed(place, "dataset.phantom.n=6", "dataset.volume.per_volume=1", "hydra.run.dir=run", "tracker.images=2")
    assert (done.returncode, done.stderr) == (0, "")
    told, summary = wandb_file.read_run(place / "run"), json.loads((place / "run" / "summary.json").read_text())
    assert set(summary["groups"]) == GROUPS
    for group, part in {**summary["groups"], "all": summary["overall"]}.items():
        assert told.summary[f"dsc/{group}"] == part["dsc"]["mean"]
        assert told.summary[f"miou/{group}"] == part["iou"]["mean"]
        assert told.summary[f"n/{group}"] == part["dsc"]["n"]
    assert (told.group, told.job_type, told.exit_code) == ("phantom_cc359", "salip", 0)
    rows = wandb_file.table(place / "run", told.summary["cases"])
    assert {row["group"] for row in rows} == GROUPS
    assert sorted(row["case/dsc"] for row in told.history) == sorted(row["dsc"] for row in rows)
    assert "wandb sync run/wandb/offline-run-" in done.stdout
    assert told.summary["pictures"]["count"] == 2
    assert {"prediction", "ground truth", "candidates", "retrieved"} == set(told.summary["pictures"]["all_masks"][0])
    assert {each.name for each in place.iterdir()} == {"run"}  # nothing in the working folder, nothing at home


def test_several_runs_of_one_command_are_several_runs(tmp_path, wandb_file):
    place = tmp_path / "several"
    sweep = ("-m", "+ablation=no_filter,sam_clip", "dataset=phantom_hc18", "dataset.phantom.n=1", "figures=none")
    done = typed(place, *sweep, "tracker.mode=online", "tracker.study=table6", "outputs=out")
    assert done.returncode == 0, done.stderr
    warnings = done.stderr.splitlines()
    assert len(warnings) == 2
    assert all("No API key configured" in each and "offline instead" in each for each in warnings)
    folders = sorted(each.parent for each in place.glob("out/**/summary.json"))
    told = [wandb_file.read_run(folder) for folder in folders]
    assert len({each.id for each in told}) == 2
    assert {each.group for each in told} == {"phantom_hc18/table6"}
    assert {each.tags[-1] for each in told} == {"no_filter", "sam_clip"}
    for folder, each in zip(folders, told, strict=True):
        assert each.summary["dsc/all"] == json.loads((folder / "summary.json").read_text())["overall"]["dsc"]["mean"]
        assert "warning: wandb" in (folder / "run.log").read_text()
