"""`preset=paper tuning=random` is the paper's search: five random settings of the authors' lists, the highest Dice."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from salip_exp._settings.compose import compose
from salip_exp._settings.tuning import AREA
from salip_exp._settings.validate import typed
from salip_exp._tuning.space import Space, space_of
from salip_exp._tuning.tune import study_in
from salip_exp.cache.store import MemoryStore
from salip_exp.config import Choice, Config, Objective, Sampler

LISTS: dict[str, list[float]] = {  # of the authors' code for 2-D images
    "sam.points_per_side": [4, 8, 16],
    "sam.pred_iou_thresh": [0.2, 0.5, 0.8],
    "sam.stability_score_thresh": [0.2, 0.5, 0.8],
    "sam.box_nms_thresh": [0.7, 0.8, 0.9],
    "sam.crop_nms_thresh": [0.7, 0.8, 0.9],
    AREA: [20000, 40000, 50000],
}


@pytest.fixture(scope="module")
def paper() -> Config:
    return typed(compose(["preset=paper", "tuning=random"]))


def test_the_preset_searches_as_the_paper_does(paper: Config) -> None:
    tuning = paper.tuning
    assert (tuning.sampler, tuning.n_trials, tuning.images) == (Sampler.random, 5, 5)
    assert (tuning.objective, tuning.choose, tuning.configured_first) == (Objective.dsc, Choice.highest, False)
    assert tuning.score_tuning_images
    assert not tuning.space.area.above_targets
    assert space_of(tuning.space, None).to_dict() == LISTS


@pytest.mark.ci
def test_its_trial_table_is_five_draws_with_replacement_and_the_first_of_the_highest_wins(
    paper: Config, stubs: Any, blob_sam: Any, random_clip: Any, tmp_path: Path
) -> None:
    config = stubs.config()
    config.tuning = paper.tuning
    config.score.empty_target = paper.score.empty_target
    result = study_in(config, tmp_path, stubs.StubLab(blob_sam, random_clip, store=MemoryStore(2**28)))
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    space: Space = space_of(paper.tuning.space, None)
    assert [int(row["trial"]) for row in rows] == [0, 1, 2, 3, 4]
    for number, row in enumerate(rows):
        drawn = {name: float(row[name]) for name in LISTS}
        assert drawn == space.draw(config.seed, number)
        assert all(drawn[name] in values for name, values in LISTS.items())
        assert int(row["images"]) == 5
    values = [float(row["value"]) for row in rows]
    assert values == [float(row["dsc"]) for row in rows]
    assert result.report["best"]["trial"] == values.index(max(values))
    assert result.report["choice"]["rule"] == "highest"
    assert result.report["choice"]["gain"] is None  # trial 0 is drawn as the others are
