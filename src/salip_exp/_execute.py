"""A run as its configuration asks for it: plain, with settings tuned first or before, or of a trained U-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Listener
from salip_exp._runs.runner import run
from salip_exp._settings.tuning import searches
from salip_exp.config import Config
from salip_exp.methods.traits import METHODS

if TYPE_CHECKING:
    from salip_exp._tuning.tune import StudyListener


def execute(
    config: Config,
    folder: Path,
    command: Sequence[str],
    lab: Lab,
    listeners: Sequence[Listener] = (),
    of_study: Callable[[Config], Sequence[StudyListener]] = lambda config: (),
    train: bool = False,
) -> int:
    """Run in the folder.

    Args:
        config: checked.
        command: what to type to get this run again.
        lab: lends data and networks.
        listeners: hear of the run.
        of_study: who hears of a study that the run makes first.
        train: whether a U-Net that is not there is trained first.

    Returns:
        0, or the code of the signal that ended it.

    Raises:
        What `run`, `tuned_run` and `trained_run` raise.
    """
    if METHODS[config.method].trained:
        from salip_exp._training.trained_run import trained_run

        return trained_run(config, folder, command, lab, listeners, train)
    if searches(config) or config.tuned is not None:
        from salip_exp._tuning.tuned_run import tuned_run

        return tuned_run(config, folder, command, lab, listeners, of_study(config))
    return run(config, folder, command, lab, listeners)
