"""Runs with tuned settings: tuned first (`tuning=random`), or before (`tuned=FILE`); tuning images are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.errors import ConfigError
from salip_exp.runs.manifest import Engine
from salip_exp.runs.runner import Prepare, prepare, run
from salip_exp.settings.tuned import Tuned, read_tuned
from salip_exp.settings.tuning import searches
from salip_exp.timing import Stages
from salip_exp.training.data import without_cases
from salip_exp.tuning.tune import study_in

STUDY = "study"


def tuned_run(config: Config, folder: Path, command: Sequence[str], prepare: Prepare = prepare) -> int:
    """Tune where that is asked for, in the run folder's `study/`, then run without the tuning images.

    Returns:
        As `run`, or the code of the signal that ended the tuning.

    Raises:
        What `study_in` and `run` raise.
    """
    if not searches(config):
        assert config.tuned is not None
        found = read_tuned(Path(config.tuned).expanduser())
        refuse_both(found, command)
        if found.dataset != config.dataset.name:  # nothing was tuned on these images
            config = replace(config, tuning=replace(config.tuning, score_tuning_images=False))
            return run(config, folder, command, prepare)
        return run(config, folder, command, without(found.images, prepare))
    result = study_in(config, folder / STUDY)
    if result.code:
        return result.code
    return run(result.config, folder, command, without(result.images, prepare))


def refuse_both(found: Tuned, command: Sequence[str]) -> None:
    """A setting of the file that is also typed: one of the two would lose without a word.

    Raises:
        ConfigError: naming the first.
    """
    names = {f"sam.{name}" for name in found.sam} | ({"area.threshold", "area.unit"} if found.area else set())
    both = sorted(names & {each.lstrip("+").partition("=")[0] for each in command})
    if both:
        raise ConfigError(f"{both[0]} is typed and stands in the file of tuned=... too: leave it out, or edit the file")


def without(images: Sequence[str], prepare: Prepare = prepare) -> Prepare:
    """As `prepare`, with the images left out of the data set; unless the configuration says to score them."""

    def prepared(config: Config, stages: Stages) -> tuple[Dataset, Engine]:
        dataset, engine = prepare(config, stages)
        return (dataset if config.tuning.score_tuning_images else left_out(dataset, images, config)), engine

    return prepared


def left_out(dataset: Dataset, images: Sequence[str], config: Config) -> Dataset:
    """The data set without its tuning images, each among the excluded with this reason.

    Raises:
        ConfigError: a list of ids (`dataset.subset`) asks for one of them.
        DataError: nothing is left.
    """
    remedy = ", or score them by tuning.score_tuning_images=true, and every table will say so"
    return without_cases(dataset, images, "tuning images", "used for tuning", config.dataset.subset, remedy)
