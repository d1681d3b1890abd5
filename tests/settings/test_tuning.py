"""Studies that cannot be are one sentence and exit code 2, before anything is loaded."""

from __future__ import annotations

import pytest

from salip_exp._settings.compose import compose
from salip_exp._settings.tuning import sampler_of, searches
from salip_exp._settings.validate import typed
from salip_exp._tuning.space import space_of
from salip_exp.config import Sampler
from salip_exp.errors import ConfigError

POINTS = "tuning.space.points_per_side"
IOU = "tuning.space.pred_iou_thresh"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([f"{IOU}.low=0.9", f"{IOU}.high=0.2"], "pred_iou_thresh.low=0.9 must lie below"),
        ([f"{IOU}.low=0.5", f"{IOU}.high=0.5"], "pred_iou_thresh.low=0.5 must lie below"),
        ([f"{IOU}.low=0.5", f"{IOU}.high=1.5"], "holds 1.5, which is out of range: allowed is 0 to 1"),
        ([f"{IOU}.low=null"], "has one end of a range"),
        ([f"{IOU}.choices=[0.5]"], "has both choices and a range"),
        ([f"{POINTS}.choices=[]"], "leaves nothing to choose"),
        ([f"{POINTS}.choices=[0,8]"], "holds 0, which is out of range"),
        ([f"{POINTS}.choices=[2,8]", "sam.crop_n_layers=2", "sam.crop_n_points_downscale_factor=2"], "crop layer 2"),
        (["area.enabled=false"], "tuning.space.area.pools=false leaves it out"),
        (["tuning.space.area.choices=[0.5]"], "is given by the pools and by values"),
        (["tuning.space.area.pools=false", "tuning.space.area.choices=[0.5,2]"], "holds 2.0, which is out of range"),
        (["tuning.space.area.pools=false", "tuning.space.area.choices=[0,0.5]"], "drops every candidate"),
        (["tuning.sampler=grid"], "tuning=grid needs lists"),
        (["method=gt_sam"], "has none of the settings that are searched"),
        (["tuned=x.yaml"], "tuned=x.yaml cannot be read"),
        (["tuning.n_trials=0"], "tuning.n_trials=0 is out of range"),
    ],
)
def test_one_sentence(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        typed(compose(["task=tune", *overrides]))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_type_is_one_sentence_too() -> None:
    with pytest.raises(ConfigError, match=r"tuning.space.points_per_side.low"):
        typed(compose(["task=tune", f"{POINTS}.low=few"]))


def test_a_space_that_is_not_used_is_not_checked() -> None:
    config = typed(compose(["area.enabled=false", f"{IOU}.low=0.9"]))
    assert not searches(config)


def test_samplers() -> None:
    assert sampler_of(typed(compose(["task=tune"]))) is Sampler.random
    for name in ("random", "tpe", "grid"):
        assert sampler_of(typed(compose([f"tuning={name}"]))) == name
    assert space_of(typed(compose(["tuning=grid"])).tuning.space, None).size == 81


def test_the_paper_preset_searches_what_the_authors_search() -> None:
    config = typed(compose(["task=tune", "preset=paper", "dataset=phantom_hc18"]))
    space = space_of(config.tuning.space, None)
    assert space.size == 729
    assert space.to_dict()["area.threshold"] == [20000, 40000, 50000]
    tuning = config.tuning
    assert (tuning.n_trials, tuning.images, config.seed) == (5, 5, 1234)
    assert (tuning.min_mask_region_area, config.sam.min_mask_region_area) == (5000, 200)
    assert tuning.score_tuning_images
