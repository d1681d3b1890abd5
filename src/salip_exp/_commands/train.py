"""`task=train`: train a U-Net, then score it on the cases that it has not seen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from salip_exp._commands.run import run_listeners
from salip_exp._console import shown, wide_console
from salip_exp._reports.listeners import RunTable, tell_left_out
from salip_exp._runs.folder import read_json
from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import heard_to_the_end
from salip_exp._settings.folders import File, is_complete
from salip_exp._tracking.trainings import TrainingTracker
from salip_exp._tracking.wandb_tracker import WandbTracker
from salip_exp._training.data import read_training_data
from salip_exp._training.trained_run import held_out_run, using
from salip_exp._training.training import train_in
from salip_exp.config import Config, Task
from salip_exp.networks.unet import build_unet


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Make or continue the training in the folder, and a run over its test part in the folder's `test/`.

    Args:
        typed: what to type to get this training again; what is typed to score it follows from it.

    Returns:
        0, or 130 or 143 when a signal ended training or run; the same command continues.

    Raises:
        What `read_training_data`, `train_in` and `run` raise.
    """
    build_unet(config.unet.channels)  # without MONAI nothing needs to be read
    lab = Lab()
    trackers = [TrainingTracker(WandbTracker(config.tracker, folder))] if config.tracker.used else []

    def work() -> int:
        data = read_training_data(config, lab)
        tell_left_out(data.left_out)
        code = train_in(config, data, folder, typed, trackers)
        return code or _tested(config, folder, typed, lab)

    return heard_to_the_end(trackers, work)


def scoring_command(typed: Sequence[str], weights: Path) -> list[str]:
    """What to type to score the weights: the command of the training as a run."""
    said = [each for each in typed if not each.startswith(("task=", "hydra.", "resume="))]
    return [*said, f"unet.weights={weights}"]


def _tested(config: Config, folder: Path, typed: Sequence[str], lab: Lab) -> int:
    """The run over the test part, unless it is there."""
    code, place, scoring = 0, folder / File.test, scoring_command(typed, folder / File.weights)
    if not is_complete(place):
        chosen = replace(using(config, folder / File.weights), task=Task.run, resume=True)
        code = held_out_run(chosen, place, scoring, lab, [*run_listeners(chosen, place), RunTable()])
    if not code:
        _say(folder, scoring)
    return code


def _say(folder: Path, scoring: Sequence[str]) -> None:
    report = read_json(folder / File.training) or {}
    n = report["n"]
    console = wide_console()
    console.print(
        Text(
            f"trained in {report['epochs']} epochs, {report['seconds']:.0f} s, on {n['train']} images; validation Dice "
            f"{report['val_dice']:.4f} (n={n['val']}) in epoch {report['best_epoch']}; scored on {n['test']} held out"
        )
    )
    console.print(Text(f"weights       {shown(folder / File.weights)}"))
    console.print(Text(f"again         {shlex.join(scoring)}", "bold"))
