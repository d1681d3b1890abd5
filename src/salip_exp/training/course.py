"""One training in its folder: split, weights, curves, and `training.json`, which says that it is complete."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from salip_exp.config import Config, Task
from salip_exp.errors import EnvironmentFault
from salip_exp.models.arithmetic import arithmetic_of
from salip_exp.models.device import pick_device
from salip_exp.models.unet import Trained, weights_file
from salip_exp.models.weights import sha256_of
from salip_exp.reporting.folders import read_json
from salip_exp.running.files import atomic_write
from salip_exp.running.lock import claim
from salip_exp.running.machine import commit, machine, versions
from salip_exp.running.manifest import write_json
from salip_exp.running.process import use_threads
from salip_exp.running.signals import stoppable
from salip_exp.training.curves import CSV, PNG, picture, table
from salip_exp.training.fit import Progress, fit
from salip_exp.training.material import Material

WEIGHTS, SPLIT, REPORT, CHECKPOINT = "unet.safetensors", "split.json", "training.json", "checkpoint.pt"
VERSION = 1

Log = Callable[[Mapping[str, float]], None]


def train_in(config: Config, material: Material, folder: Path, command: Sequence[str], log: Log) -> int:
    """Train in the folder, or go on with what is there; a complete training is left as it is.

    Args:
        command: what to type to get this training again.
        log: hears the row of every epoch.

    Returns:
        0, or 130 or 143 when a signal ended it after the epoch at hand.

    Raises:
        EnvironmentFault: the folder is in use, cannot be written, or holds another training; MONAI is not installed.
        WeightsError: its checkpoint is damaged.
        ConfigError: the loss is no number any more.
    """
    with claim(folder):
        if found_in(folder, material.key) is not None:
            return 0
        if (folder / REPORT).exists():
            raise EnvironmentFault(
                f"{folder} holds a training with other settings or data: delete it, or train elsewhere by "
                "hydra.run.dir=DIR"
            )
        use_threads(config.threads)
        device = pick_device(config.device)
        split = material.split
        write_json(folder / SPLIT, split.to_dict() | {"excluded": [list(each) for each in material.excluded]})
        parts = material.examples.part(split.train), material.examples.part(split.val)

        def ended(state: Progress) -> None:
            atomic_write(folder / CSV, table(state.history))
            log(state.history[-1])

        with stoppable() as stop:
            state = fit(config, *parts, folder / CHECKPOINT, material.key, device, stop, ended)
        atomic_write(folder / PNG, picture(state.history, state.best_epoch))
        if not state.is_over(config.unet):
            how = "" if config.task is Task.train else " with resume=true"
            epochs = f"{len(state.history)} of at most {config.unet.epochs} epochs"
            sys.stderr.write(f"stopped after {epochs}, in {folder}; the same command{how} continues\n")
            return stop.code or 0
        _conclude(config, material, state, folder, command, device)
    return 0


def found_in(folder: Path, key: str) -> Path | None:
    """Weights of a complete training in the folder, if it is that of the key and its file is as it was written."""
    report, weights = read_json(folder / REPORT), folder / WEIGHTS
    if report is None or report.get("key") != key or not weights.is_file():
        return None
    return weights if report.get("weights_sha256") == sha256_of(weights) else None


def _conclude(
    config: Config, material: Material, state: Progress, folder: Path, command: Sequence[str], device: torch.device
) -> None:
    unet = config.unet
    trained = Trained(unet.side, tuple(unet.channels), config.dataset.name, material.split.seen, material.key)
    atomic_write(folder / WEIGHTS, weights_file(state.best, trained))
    write_json(folder / REPORT, _report(config, material, state, command, device, folder / WEIGHTS))


def _report(
    config: Config, material: Material, state: Progress, command: Sequence[str], device: torch.device, weights: Path
) -> Mapping[str, Any]:
    split = material.split.to_dict()
    return {
        "version": VERSION,
        "kind": "training",
        "key": material.key,
        "command": shlex.join(command),
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
        "dataset": config.dataset.name,
        "data_sha256": material.examples.sha256,
        "n": {name: part["n"] for name, part in split.items()},
        "n_subjects": {name: part["n_subjects"] for name, part in split.items()},
        "groups": {name: part["groups"] for name, part in split.items()},
        "seed": config.seed,
        "settings": {**asdict(config.unet), "weights": None},
        "arithmetic": arithmetic_of(config.precision, config.compile),
        "epochs": len(state.history),
        "best_epoch": state.best_epoch,
        "val_dice": state.best_dice(),
        "seconds": round(sum(row["seconds"] for row in state.history), 3),
        "weights": weights.name,
        "weights_sha256": sha256_of(weights),
        "packages": versions(),
        "machine": machine(),
        "device": device.type,
        "commit": commit(),
    }


def _hash(weights: Path) -> dict[str, str]:
    return {"weights": weights.name, "weights_sha256": sha256_of(weights)}
