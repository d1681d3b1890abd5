"""Runs with tuned settings: tuned first (`tuning=random`), or before (`tuned=FILE`); tuning images are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Listener
from salip_exp._runs.runner import run
from salip_exp._settings.folders import File
from salip_exp._settings.tuned import Tuned, read_tuned
from salip_exp._settings.tuning import searches
from salip_exp._tuning.tune import StudyListener, study_in
from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.data.datasets import without_cases
from salip_exp.errors import ConfigError

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
        config, images, subjects = result.config, result.images, result.subjects
    else:
        assert config.tuned is not None
        found = read_tuned(Path(config.tuned).expanduser())
        _refuse_both(found, command)
        images, subjects = found.images, found.subjects
        if found.dataset != config.dataset.name:  # nothing was tuned on these images
            config, images = replace(config, tuning=replace(config.tuning, score_tuning_images=False)), ()
            subjects = ()

    def untuned(dataset: Dataset) -> Dataset:
        return dataset if config.tuning.score_tuning_images else _untuned(dataset, images, subjects, config)

    return run(config, folder, command, lab, listeners, untuned)


def _untuned(dataset: Dataset, images: Sequence[str], subjects: Sequence[str], config: Config) -> Dataset:
    """The data set without the tuning images, and without all others of their subjects.

    Raises:
        ConfigError, DataError: as `without_cases` does.
    """
    subset = config.dataset.subset
    left = without_cases(dataset, images, "tuning images", "used for tuning", subset, _REMEDY)
    known = {*subjects, *(ref.subject for ref in dataset.refs if ref.case_id in images)}
    others = [ref.case_id for ref in left.refs if ref.subject in known]
    return without_cases(left, others, "images of tuned subjects", "its subject was used for tuning", subset, _REMEDY)


def _refuse_both(found: Tuned, command: Sequence[str]) -> None:
    """A setting of the file that is also typed: one of the two would lose without a word.

    Raises:
        ConfigError: naming the first.
    """
    names = {f"sam.{name}" for name in found.sam} | ({"area.threshold", "area.unit"} if found.area else set())
    both = sorted(names & {each.lstrip("+").partition("=")[0] for each in command})
    if both:
        raise ConfigError(f"{both[0]} is typed and stands in the file of tuned=... too: leave it out, or edit the file")
