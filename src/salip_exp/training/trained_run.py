"""Runs of a trained U-Net: with the weights named, found by what they were made from, or trained now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.errors import WeightsError
from salip_exp.methods.unet import Unet
from salip_exp.networks.unet import build_unet
from salip_exp.runs.manifest import Engine
from salip_exp.runs.runner import Prepare, prepare, run
from salip_exp.settings.run_name import training_folder
from salip_exp.timing import Stages
from salip_exp.training.data import Material, gather, held_out
from salip_exp.training.training import REPORT, WEIGHTS, Log, found_in, train_in

KEY = 16  # digits of a training's key that name its folder


def ignore(row: Mapping[str, float]) -> None:
    """Hear of an epoch and do nothing."""


def unet_run(config: Config, folder: Path, command: Sequence[str], prepare: Prepare = prepare) -> int:
    """Run a U-Net over its held-out cases, with the file of `unet.weights`, else with weights found below `outputs`.

    Returns:
        As `run`.

    Raises:
        WeightsError: no training like this one is there; the sentence names the command that makes it.
        What `gather` and `run` raise.
    """
    if config.unet.weights is None:
        build_unet(config.unet.channels)  # without MONAI nothing needs to be read
        weights = find_weights(config, gather(config).key)
        if weights is None:
            raise WeightsError(
                f"method=unet needs weights, and below {config.outputs} there are none of these settings and data: "
                f"train them by {training_command(command)}, or name a file by unet.weights=FILE"
            )
        config = using(config, weights)
    return run(config, folder, command, held_out_only(prepare))


def trained_run(
    config: Config, folder: Path, command: Sequence[str], prepare: Prepare = prepare, log: Log = ignore
) -> int:
    """As `unet_run`, but what is not there is trained first, in `<outputs>/<dataset>/train/<key>/`.

    Returns:
        As `run`, or the code of the signal that ended the training, which the same call continues.

    Raises:
        What `gather`, `train_in` and `run` raise.
    """
    if config.unet.weights is None:
        build_unet(config.unet.channels)
        material = gather(config)
        weights = find_weights(config, material.key)
        if weights is None:
            place = home(config, material)
            code = train_in(config, material, place, command, log)
            if code:
                return code
            weights = place / WEIGHTS
        config = using(config, weights)
    return run(config, folder, command, held_out_only(prepare))


def find_weights(config: Config, key: str) -> Path | None:
    """Weights of a complete training with this key below `outputs`, or None."""
    reports = sorted(Path(config.outputs).glob(f"*/train/*/{REPORT}"))
    return next((found for each in reports if (found := found_in(each.parent, key)) is not None), None)


def home(config: Config, material: Material) -> Path:
    """The folder of a training that is named by nothing but its content."""
    return Path(config.outputs, training_folder(config.dataset.name, material.key[:KEY]))


def using(config: Config, weights: Path) -> Config:
    """The configuration with a file of weights."""
    return replace(config, unet=replace(config.unet, weights=str(weights)))


def held_out_only(prepare: Prepare) -> Prepare:
    """As `prepare`, with the cases that the U-Net has seen left out of the data set."""

    def prepared(config: Config, stages: Stages) -> tuple[Dataset, Engine]:
        dataset, engine = prepare(config, stages)
        assert isinstance(engine.method, Unet)
        trained = engine.method.unet.trained
        return held_out(dataset, trained.dataset, trained.subjects, config.dataset.subset), engine

    return prepared


def training_command(command: Sequence[str]) -> str:
    """What to type to train what a run wants."""
    import shlex

    said = [each for each in command if not each.startswith(("task=", "hydra.", "resume=", "unet.weights="))]
    program = 3 if said[:2] == ["python", "-m"] else 1
    return shlex.join([*said[:program], "task=train", *said[program:]])
