"""A data set of small bright discs in HC18's layout, and trainings of a few seconds; also a program, to be killed.

python stubs.py ROOT FOLDER KILL_IN_STEP
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image

from salip_exp._runs.lab import Lab
from salip_exp._training import fit
from salip_exp._training.data import read_training_data
from salip_exp._training.training import TrainingListener, train_in
from salip_exp.config import (
    ClipConfig,
    Config,
    DatasetConfig,
    SamConfig,
    ScoreConfig,
    Task,
    UnetConfig,
    VdtConfig,
)

SIDE, FETUSES = 32, 12
COMMAND = ["python", "-m", "salip_exp", "task=train", "method=unet", "dataset=discs"]


def write_discs(root: Path, fetuses: int = FETUSES) -> Path:
    """One image of every fetus, and a second of every third."""
    folder = root / "training_set"
    folder.mkdir(parents=True)
    names = [f"{i:03d}_{kind}" for i in range(1, fetuses + 1) for kind in ("HC", "2HC") if kind == "HC" or i % 3 == 0]
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        y, x, radius = *rng.uniform(12, 20, 2), rng.uniform(5, 9)
        mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        Image.fromarray((rng.integers(0, 60, mask.shape) + 150 * mask).astype(np.uint8)).save(folder / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}_Annotation.png")
    return root


def config(root: Path, **changes) -> Config:
    """Of a training; `changes` go to the U-Net, except for keys of the whole."""
    whole = {name: changes.pop(name) for name in set(changes) & {each.name for each in fields(Config)}}
    small = {"side": 16, "channels": [4, 8], "epochs": 3, "patience": 9, "batch": 4, "rate": 0.01, "epoch_images": 1}
    data = DatasetConfig(name="discs", layout="hc18", root=str(root), group="Ultrasound", roi="disc")
    return Config(
        **{
            "task": Task.train,
            "method": "unet",
            "dataset": data,
            "sam": SamConfig(name="tiny"),
            "clip": ClipConfig(name="tiny"),
            "vdt": VdtConfig(name="disc"),
            "score": ScoreConfig(resamples=200),
            "unet": UnetConfig(**(small | changes)),
            "progress": False,
            "figures": "none",
            "threads": 1,
            **whole,
        }
    )


class Epochs(TrainingListener):
    """Does something with the row of every epoch."""

    def __init__(self, act) -> None:
        self.epoch = act


def train(root: Path, folder: Path, *listeners, **changes) -> int:
    """One training in its folder."""
    chosen = config(root, **changes)
    return train_in(chosen, read_training_data(chosen, Lab()), folder, COMMAND, listeners)


if __name__ == "__main__":
    place, where, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    real, done = fit._step, 0

    def step(*arguments):
        global done
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    fit._step = step
    sys.exit(train(place, where))
