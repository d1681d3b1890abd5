"""One training in its folder: split, weights, curves, and `training.json`, which says that it is complete."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from salip_exp._files import atomic_write
from salip_exp._runs._identity import require_same
from salip_exp._runs._manifest import commit, machine, versions
from salip_exp._runs._process import stoppable
from salip_exp._runs.folder import claim, read_json, write_json
from salip_exp._settings.folders import File
from salip_exp._training.data import TrainingData
from salip_exp._training.fit import Progress, Row, fit
from salip_exp.config import Config, Task
from salip_exp.data._left_out import listed
from salip_exp.errors import EnvironmentFault
from salip_exp.networks.device import arithmetic_of, pick_device, use_threads
from salip_exp.networks.unet import Trained, weights_file
from salip_exp.networks.weights import sha256_of

VERSION = 1

COLUMNS = ("epoch", "rate", "train_loss", "val_loss", "val_dice", "seconds")


def table(history: Sequence[Mapping[str, float]]) -> str:
    """The rows as CSV, numbers with six digits."""
    rows = pd.DataFrame(history, columns=COLUMNS)
    return rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def picture(history: Sequence[Mapping[str, float]], best_epoch: int) -> bytes:
    """Losses and validation Dice as the bytes of a PNG; a line marks the epoch whose weights were kept."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for name, label in (("train_loss", "training"), ("val_loss", "validation")):
        losses.plot(epochs, [row[name] for row in history], label=label)
    scores.plot(epochs, [row["val_dice"] for row in history], color="tab:green")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend(frameon=False)
    scores.set(xlabel="epoch", ylabel="validation Dice")
    for axes in (losses, scores):
        axes.axvline(best_epoch, color="grey", linewidth=1, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=150, format="png")
    return stream.getvalue()


class TrainingListener:
    """Hears of a training; a listener overrides what it wants to hear."""

    def began(self, config: Config, folder: Path, command: Sequence[str]) -> None:
        """The first epoch is about to begin, or the next one of a training that goes on; or it is complete already."""

    def epoch(self, row: Row) -> None:
        """An epoch is over, and its row is on disk."""

    def finished(self, folder: Path) -> None:
        """The training is complete: weights and report are in its folder."""

    def ended(self, code: int) -> None:
        """It is over, with this exit code, whether or not it ever began."""


def train_in(
    config: Config,
    data: TrainingData,
    folder: Path,
    command: Sequence[str],
    listeners: Sequence[TrainingListener] = (),
) -> int:
    """Train in the folder, or go on with what is there; a complete training is left as it is.

    Args:
        command: what to type to get this training again.
        listeners: hear of it, but for its end, which is that of the command.

    Returns:
        0, or 130 or 143 when a signal ended it after the epoch at hand.

    Raises:
        EnvironmentFault: the folder is in use, cannot be written, or holds another training; MONAI is not installed.
        WeightsError: its checkpoint is damaged.
        ConfigError: the loss is no number any more.
    """
    with claim(folder):
        require_same(folder, data.identity)
        complete = found_in(folder, data.key) is not None
        if (read_json(folder / File.training) or {}).get("key", data.key) != data.key:  # of an earlier version
            raise EnvironmentFault(
                f"{folder} holds a training with other settings or data: delete it, or train elsewhere by "
                "hydra.run.dir=DIR"
            )
        for each in listeners:
            each.began(config, folder, command)
        code = 0 if complete else _train(config, data, folder, command, listeners)
        for each in listeners if not code else ():
            each.finished(folder)
    return code


def _train(
    config: Config, data: TrainingData, folder: Path, command: Sequence[str], listeners: Sequence[TrainingListener]
) -> int:
    use_threads(config.threads)
    device = pick_device(config.device)
    split = data.split
    left_out = {"left_out": [each.to_dict() for each in data.left_out]}
    write_json(folder / File.parts, split.to_dict() | listed(data.excluded) | left_out)
    parts = data.examples.part(split.train), data.examples.part(split.val)

    def on_epoch(state: Progress) -> None:
        atomic_write(folder / File.curves, table(state.history))
        for each in listeners:
            each.epoch(state.history[-1])

    with stoppable() as stop:
        state = fit(config, *parts, folder / File.checkpoint, data.key, device, stop, on_epoch)
    atomic_write(folder / File.curves_picture, picture(state.history, state.best_epoch))
    if not state.is_over(config.unet):
        how = "" if config.task is Task.train else " with resume=true"
        epochs = f"{len(state.history)} of at most {config.unet.epochs} epochs"
        sys.stderr.write(f"stopped after {epochs}, in {folder}; the same command{how} continues\n")
        return stop.code or 0
    _conclude(config, data, state, folder, command, device)
    return 0


def found_in(folder: Path, key: str) -> Path | None:
    """Weights of a complete training in the folder, if it is that of the key and its file is as it was written."""
    report, weights = read_json(folder / File.training), folder / File.weights
    if report is None or report.get("key") != key or not weights.is_file():
        return None
    return weights if report.get("weights_sha256") == sha256_of(weights) else None


def _conclude(
    config: Config, data: TrainingData, state: Progress, folder: Path, command: Sequence[str], device: torch.device
) -> None:
    unet = config.unet
    trained = Trained(unet.side, tuple(unet.channels), config.dataset.name, data.split.seen, data.key)
    atomic_write(folder / File.weights, weights_file(state.best, trained))
    write_json(folder / File.training, _report(config, data, state, command, device, folder / File.weights))


def _report(
    config: Config, data: TrainingData, state: Progress, command: Sequence[str], device: torch.device, weights: Path
) -> Mapping[str, Any]:
    split = data.split.to_dict()
    return {
        "version": VERSION,
        "kind": "training",
        "key": data.key,
        "command": shlex.join(command),
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
        "dataset": config.dataset.name,
        "data_sha256": data.examples.sha256,
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
