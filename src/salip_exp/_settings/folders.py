"""Names: of output folders, `<dataset>/<overrides>/<time>`, of all files in them, and of the one to continue."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import omegaconf
import yaml
from omegaconf import OmegaConf

from salip_exp._files import YAML, from_json, from_yaml, read_file, read_small
from salip_exp._secrets import hidden
from salip_exp.config import CacheConfig, ExecutorConfig, RayConfig, SlurmConfig, Task, TrackerConfig


class File(StrEnum):
    """What lies in the folder of a run, a study, a training or an experiment: `folder / File.summary`."""

    # of all
    config = "config.yaml"  # as composed and checked
    status = "status.json"
    identity = "identity.json"  # what it is of, and its cases: there from its beginning
    lock = ".lock"  # held by the process at work in the folder
    log = "run.log"
    tracker_id = "wandb_id.txt"
    tracker = "wandb"  # what wandb keeps itself
    # of a run
    manifest = "manifest.json"  # where and with what it was made
    cases = "cases"  # a record each
    predictions = "predictions"  # a mask each, at working size
    before = "before"  # of cases that were repaired: their masks before, at working size
    masks = "masks"  # the same on the grids and under the names of the images, a volume in one file
    candidates = "candidates"  # a table each
    figures = "figures"
    pictures = "pictures.json"  # which case is shown in which file of figures/, and why
    case_table = "cases.csv"
    case_columns = "cases.parquet"
    candidate_table = "candidates.parquet"  # those of all cases
    volume_table = "volumes.csv"  # of volumes that were run on whole, at the size of their files
    summary = "summary.json"  # written last: a run that has it is finished
    report = "report.html"
    case_script = "cases.js"  # what compare.html needs of the run
    pages = ".pages.json"  # what the pages beside it were made of
    shards = "shards"  # of a run that workers share, until it is finished: how it is cut, and who is at what
    plan = "plan.json"
    workers = "workers"  # what each worker printed
    crew = "crew.json"  # who was started, and by what
    own_study = "study"  # of a run that tunes its settings first
    # of runs with several seeds
    of_seed = "seed"  # a run folder for each
    spread = "spread.json"
    spread_table = "spread.csv"
    # of runs with several organs
    of_organ = "organ"  # a run folder for each
    organs = "organs.json"
    organ_table = "organs.csv"
    # of a study, and of an experiment
    study = "study.json"
    study_page = "study.html"
    database = "study.db"
    tuning_images = "images.txt"  # there from a study's beginning
    trials = "trials.csv"
    tuned = "tuned.yaml"
    # of a training
    training = "training.json"  # written last
    weights = "unet.safetensors"
    parts = "split.json"  # who trains, who decides, who is scored
    checkpoint = "checkpoint.pt"
    curves = "curves.csv"
    curves_picture = "curves.png"
    test = "test"  # the run over what it has not seen
    # of an export
    coco = "coco.json"
    # of `outputs` itself
    all_runs = "index.html"
    comparison = "compare.html"
    jobs = ".jobs"  # while `-m` is at work: how each of its jobs began and ended
    experiments = "experiments"
    experiment_cells = "cells"


_CACHE = {f"cache.{each.name}" for each in fields(CacheConfig)} | {"cache"}
TRACKER = {f"tracker.{each.name}" for each in fields(TrackerConfig)} | {"tracker"}
_EXECUTOR = {
    *("executor", "shard", *(f"executor.{each.name}" for each in fields(ExecutorConfig))),
    *(
        f"executor.{kind}.{each.name}"
        for kind, of in (("slurm", SlurmConfig), ("ray", RayConfig))
        for each in fields(of)
    ),
}
_WORKERS = {f"tuning.{name}" for name in ("n_workers", "grace_s", "lock_wait_s")}
FREE = {"outputs", "resume", "progress", "download", *_CACHE, *TRACKER, *_EXECUTOR, *_WORKERS}
"""Overrides in which a run may differ from the one it continues."""
UNSAID = {"dataset", "dataset.root", "dataset.name", "task", *FREE}
"""Overrides that a folder's name leaves out: they stand in its path, or do not change a number."""
_TOTALS = {"tuning.n_trials", "tuning.storage", "tuning.draws", "tuning.held_out", "tuning.choose"}
"""Overrides in which a study may differ from the one it continues."""
GROUPS = {"ablation", "preset", "method"}
"""Keys whose value says enough by itself."""
_LONGEST = 100


def label(overrides: Sequence[str]) -> str:
    """Overrides as one file name of at most 100 characters, `default` if none matters; their order does not count."""
    parts = sorted(_part(each) for each in overrides if key_of(each) not in UNSAID)
    name = "+".join(part for part in parts if part)
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name or "default"


def run_name(outputs: str, dataset: str, task: Task, overrides: Sequence[str], resume: bool) -> str:
    """The run folder, relative to `outputs`: a new one, or with `resume` the one to continue if there is one.

    A study, a training, an experiment and runs with several seeds or organs have one folder for good: the same command
    continues them.
    """
    if task in (Task.report, Task.cache, Task.check, Task.export, Task.status, Task.describe, Task.explore):
        return task.value
    if task is Task.experiment:
        return str(Path(File.experiments, _experiment(overrides)))
    if task is Task.tune:
        return str(Path(_safe(dataset) or "dataset", "tune", label([e for e in overrides if key_of(e) not in _TOTALS])))
    if task is Task.train:
        return str(training_folder(dataset, label(overrides)))
    for key, name in (("seeds", "seeds"), ("dataset.files.labels", "organs")):
        if any(key_of(each) == key for each in overrides):
            return str(Path(_safe(dataset) or "dataset", name, label(overrides)))
    found = unfinished(outputs, dataset, overrides) if resume else None
    time = found.name if found else f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    return str(_parent(dataset, overrides) / time)


def training_folder(dataset: str, name: str) -> Path:
    """The folder of a training, relative to `outputs`."""
    return Path(_safe(dataset) or "dataset", "train", name)


def unfinished(outputs: str, dataset: str, overrides: Sequence[str]) -> Path | None:
    """The newest folder that holds a part of a run on the same data set with the same overrides, or None."""
    folders = sorted(Path(outputs, _parent(dataset, overrides)).glob("*"), reverse=True)
    return next((each for each in folders if is_unfinished(each) and _told(each) == _said(overrides)), None)


PAGES_LEFT = "pages_left"
"""What the status of a finished run says until its page is written, too."""


def is_complete(folder: Path) -> bool:
    """Whether a run lacks nothing, its page included; runs of earlier versions lack none that have a summary."""
    if not (folder / File.summary).exists():
        return False
    try:
        status = from_json(read_small(folder / File.status))
    except (OSError, ValueError):
        return True
    return isinstance(status, dict) and status.get("state") == "finished" and not status.get(PAGES_LEFT)


def is_unfinished(folder: Path) -> bool:
    """Whether a run was begun here and lacks something; without a finished case or a study, nothing is to continue."""
    begun = any((folder / File.cases).glob("*.json")) or (folder / File.own_study / File.database).exists()
    return begun and not is_complete(folder)


def is_part(folder: Path) -> bool:
    """Whether a run is part of a training, of an experiment or of several runs, whose command continues it."""
    several = folder.parent.name in (File.of_seed, File.of_organ)
    return folder.name == File.test or several or File.experiment_cells in folder.parts


def way_on(task: Task, folder: Path) -> str:
    """How the command that stopped in a folder goes on, in words; empty where it begins anew."""
    several = (folder / File.of_seed).exists() or (folder / File.of_organ).exists()
    if task in (Task.tune, Task.train, Task.experiment) or several:
        return "the same command continues"
    if task is not Task.run or not is_unfinished(folder):
        return ""
    if is_part(folder):
        return "the same command continues"
    by_hand = (folder / File.shards / File.plan).exists() and not (folder / File.crew).exists()
    return f"the same command with resume=true{' and without shard' * by_hand} continues"


def _experiment(overrides: Sequence[str]) -> str:
    """`table1`, and what else was typed; where images lie is no part of it."""
    name = next((each.partition("=")[2] for each in overrides if key_of(each) == "experiment"), "experiment")
    others = [each for each in overrides if key_of(each) != "experiment" and "experiment.roots" not in key_of(each)]
    rest = label(others)
    return _safe(name) if rest == "default" else f"{_safe(name)}+{rest}"


def _parent(dataset: str, overrides: Sequence[str]) -> Path:
    return Path(_safe(dataset) or "dataset", label(overrides))


def _told(folder: Path) -> set[str] | None:
    """The overrides that a folder was made by; None where it does not tell."""
    try:
        told = from_yaml(read_file(folder / ".hydra" / "overrides.yaml", YAML))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return _said([hidden(str(each)) for each in told]) if isinstance(told, list) else None


def _said(overrides: Sequence[str]) -> set[str]:
    return {str(each) for each in overrides if key_of(each) not in FREE}


def key_of(override: str) -> str:
    """The key that an override sets: `ablation` of `+ablation=no_filter`."""
    return override.partition("=")[0].lstrip("+~")


def _part(override: str) -> str:
    key, _, value = override.lstrip("+").partition("=")
    return _safe(value if key in GROUPS else f"{key}-{value}" if value else key)


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+]+", "-", text).strip("-.")


# OmegaConf 2.4 gives the name of what 2.3 had deprecated to what 2.3 calls the new one.
_REGISTER = "register_new_resolver" if omegaconf.__version__.startswith("2.3.") else "register_resolver"
getattr(OmegaConf, _REGISTER)("run_name", run_name, replace=True)
