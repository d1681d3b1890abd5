"""`task=train`: train a U-Net, then score it on the cases that it has not seen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from salip_exp.config import Config, Task
from salip_exp.networks.unet import build_unet
from salip_exp.reports.terminal import shown, wide_console
from salip_exp.runs.on_disk import read_json
from salip_exp.runs.runner import prepare, run
from salip_exp.training.data import gather
from salip_exp.training.trained_run import held_out_only, ignore, using
from salip_exp.training.training import REPORT, WEIGHTS, Log, train_in

TEST = "test"


def train(config: Config, folder: Path, command: Sequence[str], log: Log = ignore) -> int:
    """Make or continue the training in the folder, and a run over its test part in the folder's `test/`.

    Args:
        command: what to type to get this training again; what is typed to score it follows from it.
        log: hears the row of every epoch.

    Returns:
        0, or 130 or 143 when a signal ended training or run; the same command continues.

    Raises:
        What `gather`, `train_in` and `run` raise.
    """
    build_unet(config.unet.channels)  # without MONAI nothing needs to be read
    code = train_in(config, gather(config), folder, command, log)
    if code:
        return code
    weights = folder / WEIGHTS
    scoring = scoring_command(command, weights)
    if not (folder / TEST / "summary.json").exists():
        chosen = replace(using(config, weights), task=Task.run, resume=True)
        code = run(chosen, folder / TEST, scoring, held_out_only(prepare))
    if not code:
        _say(folder, scoring)
    return code


def scoring_command(command: Sequence[str], weights: Path) -> list[str]:
    """What to type to score the weights: the command of the training as a run."""
    said = [each for each in command if not each.startswith(("task=", "hydra.", "resume="))]
    return [*said, f"unet.weights={weights}"]


def _say(folder: Path, scoring: Sequence[str]) -> None:
    report = read_json(folder / REPORT) or {}
    n = report["n"]
    console = wide_console()
    console.print(
        Text(
            f"trained in {report['epochs']} epochs, {report['seconds']:.0f} s, on {n['train']} images; validation Dice "
            f"{report['val_dice']:.4f} (n={n['val']}) in epoch {report['best_epoch']}; scored on {n['test']} held out"
        )
    )
    console.print(Text(f"weights       {shown(folder / WEIGHTS)}"))
    console.print(Text(f"again         {shlex.join(scoring)}", "bold"))
