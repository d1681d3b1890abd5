"""Runs of a trained U-Net: with the weights named, found by what they were made from, or trained now."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Listener
from salip_exp._runs.runner import run
from salip_exp._settings.folders import File, training_folder
from salip_exp._training.data import held_out, read_training_data
from salip_exp._training.training import found_in, train_in
from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.errors import WeightsError
from salip_exp.networks.unet import build_unet

KEY = 16  # digits of a training's key that name its folder


def trained_run(
    config: Config,
    folder: Path,
    command: Sequence[str],
    lab: Lab,
    listeners: Sequence[Listener] = (),
    train: bool = False,
) -> int:
    """Run a U-Net over its held-out cases, with the file of `unet.weights`, else with weights found below `outputs`.

    Args:
        train: whether to train what is not there, in `<outputs>/<dataset>/train/<key>/`.

    Returns:
        As `run`, or the code of the signal that ended the training, which the same call continues.

    Raises:
        WeightsError: no training like this one is there; the sentence names the command that makes it.
        What `read_training_data`, `train_in` and `run` raise.
    """
    if config.unet.weights is None:
        build_unet(config.unet.channels)  # without MONAI nothing needs to be read
        data = read_training_data(config, lab)
        weights = _find_weights(config, data.key)
        if weights is None and not train:
            raise WeightsError(
                f"method={config.method} needs weights, and below {config.outputs} there are none of these settings "
                f"and data: train them by {_training_command(command)}, or name a file by unet.weights=FILE"
            )
        if weights is None:
            home = Path(config.outputs, training_folder(config.dataset.name, data.key[:KEY]))
            if code := train_in(config, data, home, command):
                return code
            weights = home / File.weights
        config = using(config, weights)
    return held_out_run(config, folder, command, lab, listeners)


def held_out_run(
    config: Config, folder: Path, command: Sequence[str], lab: Lab, listeners: Sequence[Listener] = ()
) -> int:
    """As `run`, without the cases that the configured U-Net has seen."""

    def unseen(dataset: Dataset) -> Dataset:
        unet = lab.loaded(config).unet
        assert unet is not None
        return held_out(dataset, unet.trained.dataset, unet.trained.subjects, config.dataset.subset)

    return run(config, folder, command, lab, listeners, unseen)


def using(config: Config, weights: Path) -> Config:
    """The configuration with a file of weights."""
    return replace(config, unet=replace(config.unet, weights=str(weights)))


def _find_weights(config: Config, key: str) -> Path | None:
    """Weights of a complete training with this key below `outputs`, or None."""
    reports = sorted(Path(config.outputs).glob(f"*/train/*/{File.training}"))
    return next((found for each in reports if (found := found_in(each.parent, key)) is not None), None)


def _training_command(command: Sequence[str]) -> str:
    """What to type to train what a run wants."""
    words = [each for each in command if not each.startswith(("task=", "hydra.", "resume=", "unet.weights="))]
    program = 3 if words[:2] == ["python", "-m"] else 1
    return shlex.join([*words[:program], "task=train", *words[program:]])
