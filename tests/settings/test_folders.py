"""The folder of an experiment: the same command continues it, another one has its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from salip_exp._settings.folders import run_name
from salip_exp.config import Task


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["+experiment=table6"], "table6"),
        (["+experiment=table6", "outputs=elsewhere", "progress=false", "cache=off"], "table6"),
        (["+experiment=table6", "data=real", "experiment.roots.hc18=/data/hc18"], "table6+data-real"),
        (["+experiment=everything", "dataset.limit=4", "sam=tiny"], "everything+dataset.limit-4+sam-tiny"),
        (["task=experiment", "experiment.name=mine"], "experiment+experiment.name-mine"),
    ],
)
def test_an_experiment_s_folder_tells_what_was_typed_and_not_where_things_lie(overrides: list[str], name: str) -> None:
    for resume in (False, True):
        assert run_name("outputs", "phantom_cc359", Task.experiment, overrides, resume) == str(
            Path("experiments", name)
        )
