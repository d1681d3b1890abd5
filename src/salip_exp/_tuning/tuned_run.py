"""Runs with tuned settings: tuned first (`tuning=random`), or before (`tuned=FILE`); tuning images are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salip_exp._settings.folders import File
from salip_exp._settings.tuned import Tuned, read_tuned
from salip_exp._settings.tuning import searches
from salip_exp._tuning.tune import StudyListener, study_in
from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.data.datasets import without_cases
from salip_exp.errors import ConfigError
from salip_exp.runs.lab import Lab
from salip_exp.runs.listener import Listener
from salip_exp.runs.runner import run

_REMEDY = ", or score them by tuning.score_tuning_images=true, and every table will say so"


def tuned_run(
    config: Config,
    folder: Path,
    command: Sequence[str],
    lab: Lab,
    listeners: Sequence[Listener] = (),
    study_listeners: Sequence[StudyListener] = (),
) -> int:
    """Tune where that is asked for, in the run folder's `study/`, then run without the tuning images.

    Returns:
        As `run`, or the code of the signal that ended the tuning.

    Raises:
        What `study_in` and `run` raise.
    """
    if searches(config):
        result = study_in(config, folder / File.own_study, lab, study_listeners)
        if result.code:
            return result.code
        config, images = result.config, result.images
    else:
        assert config.tuned is not None
        found = read_tuned(Path(config.tuned).expanduser())
        _refuse_both(found, command)
        images = found.images
        if found.dataset != config.dataset.name:  # nothing was tuned on these images
            config, images = replace(config, tuning=replace(config.tuning, score_tuning_images=False)), ()

    def untuned(dataset: Dataset) -> Dataset:
        ids = () if config.tuning.score_tuning_images else images
        return without_cases(dataset, ids, "tuning images", "used for tuning", config.dataset.subset, _REMEDY)

    return run(config, folder, command, lab, listeners, untuned)


def _refuse_both(found: Tuned, command: Sequence[str]) -> None:
    """A setting of the file that is also typed: one of the two would lose without a word.

    Raises:
        ConfigError: naming the first.
    """
    names = {f"sam.{name}" for name in found.sam} | ({"area.threshold", "area.unit"} if found.area else set())
    both = sorted(names & {each.lstrip("+").partition("=")[0] for each in command})
    if both:
        raise ConfigError(f"{both[0]} is typed and stands in the file of tuned=... too: leave it out, or edit the file")
