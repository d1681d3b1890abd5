"""The table of scores: what it holds, what another package may add to it, and what becomes of a score that fails."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from salip_exp._runs.summary import columns, summarise
from salip_exp.config import EmptyTarget, ScoreConfig
from salip_exp.data.case import Case
from salip_exp.errors import EnvironmentFault
from salip_exp.evaluation.metrics import FACT, dice, hd95, head_circumference, iou, surface_dice
from salip_exp.evaluation.scores import _RESERVED, BUILT_IN, Mean, Score, means, measure, scores, shown
from salip_exp.methods.base import Prediction, Status
from salip_exp.plugins import versions

CONFIG = ScoreConfig(tolerance_mm=1.0)
TARGET = np.zeros((32, 48), bool)
TARGET[8:24, 10:30] = True
CASE = Case("c", "fake", "all", np.zeros((32, 48, 3), np.uint8), TARGET, (0.5, 0.75), "c", facts={FACT: 30.0})
PREDICTION = Prediction(np.roll(TARGET, 2, axis=1), Status.ok)


def scoring(compute, name: str = "covered", **changes) -> Score:
    return Score(name, "Covered", "share of the image that is predicted", compute, **changes)


def share(case, prediction, config) -> float:
    return prediction.mask.mean()


def test_the_built_in_scores_are_those_metrics_with_the_settings_of_the_run():
    mask = PREDICTION.mask
    circumference = head_circumference(mask, CASE.spacing)
    values, notes = measure(CASE, PREDICTION, CONFIG)
    assert values == {
        "dsc": dice(mask, TARGET),
        "iou": iou(mask, TARGET),
        "hd95": hd95(mask, TARGET, CASE.spacing),
        "nsd": surface_dice(mask, TARGET, CASE.spacing, 1.0),
        "hc_mm": circumference,
        "hc_error_mm": circumference - 30.0,
    }
    assert notes == []


def test_what_cannot_be_measured_of_a_case_is_none():
    without, _ = measure(replace(CASE, mask=None), PREDICTION, CONFIG)
    assert [name for name, value in without.items() if value is not None] == ["hc_mm", "hc_error_mm"]
    flat, _ = measure(replace(CASE, spacing=None), PREDICTION, CONFIG)
    assert [name for name, value in flat.items() if value is not None] == ["dsc", "iou"]
    bare, _ = measure(replace(CASE, facts={}), PREDICTION, CONFIG)
    assert bare["hc_mm"] is bare["hc_error_mm"] is None


@pytest.mark.parametrize(("policy", "value"), [("skip", None), ("one", 1.0), ("zero", 0.0)])
def test_two_empty_masks_are_scored_by_policy(policy, value):
    nothing = np.zeros_like(TARGET)
    config = ScoreConfig(empty_target=EmptyTarget(policy))
    values, _ = measure(replace(CASE, mask=nothing), Prediction(nothing, Status.no_masks), config)
    assert values["dsc"] == values["iou"] == values["nsd"] == value
    assert values["hd95"] is None


def test_a_score_of_another_package_stands_after_the_built_in_ones(install_score):
    install_score(scoring(share))
    assert [each.name for each in scores()] == [*(each.name for each in BUILT_IN), "covered"]
    assert measure(CASE, PREDICTION, CONFIG)[0]["covered"] == pytest.approx(TARGET.mean())
    assert versions("scores") == ["covered my-package 1.0"]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, np.float32("nan")])
def test_what_is_no_finite_number_is_missing_without_a_word(install_score, value):
    install_score(scoring(lambda *_: value))
    values, notes = measure(CASE, PREDICTION, CONFIG)
    assert values["covered"] is None and notes == []


@pytest.mark.parametrize(
    ("value", "said"),
    [("0.5", "TypeError: must be real number, not str"), (np.zeros(2), "TypeError: only"), ([], "TypeError: must be")],
)
def test_what_is_no_number_at_all_is_missing_with_a_note(install_score, value, said):
    install_score(scoring(lambda *_: value))
    values, (note,) = measure(CASE, PREDICTION, CONFIG)
    assert values["covered"] is None
    assert note.startswith(f"score covered is missing: {said}")


def test_a_score_that_raises_loses_nothing_but_itself(install_score):
    def broken(case, prediction, config):
        raise KeyError("no such\nfact")

    install_score(scoring(broken))
    install_score(scoring(share, "share"))
    values, notes = measure(CASE, PREDICTION, CONFIG)
    assert values["covered"] is None and values["share"] > 0 and values["dsc"] > 0
    assert notes == ["score covered is missing: KeyError: 'no such\\nfact'"]


@pytest.mark.parametrize(
    ("name", "found", "said"),
    [
        ("covered", share, "my_package:covered, the entry point covered of salip_exp.scores, is no Score of that name"),
        ("other", scoring(share), "is no Score of that name: mend or uninstall"),
        ("dsc", scoring(share, "dsc"), "uses the name 'dsc', which is taken or no identifier: rename it"),
        ("hc_error", scoring(share, "hc_error"), "uses the name 'hc_error'"),
        ("group", scoring(share, "group"), "uses the name 'group'"),
        ("seconds_total", scoring(share, "seconds_total"), "uses the name 'seconds_total'"),
        ("a b", scoring(share, "a b"), "uses the name 'a b'"),
        ("covered", scoring(share, means=(Mean("volume_dsc"),)), "uses the name 'volume_dsc'"),
    ],
)
def test_what_is_no_score_or_has_a_name_that_is_taken_is_refused(install_score, name, found, said):
    install_score(found, name)
    with pytest.raises(EnvironmentFault) as caught:
        scores()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_every_name_beside_scores_is_reserved(fakes):
    part = summarise([], fakes.config(), {})["overall"]
    own = {each.name for each in BUILT_IN} | {mean.name for _, mean in means()}
    assert {*columns(), *part} <= _RESERVED | own
    assert not _RESERVED & own


def test_a_mean_is_shown_where_the_data_set_can_have_it(install_score):
    install_score(scoring(share, means=(Mean(page=None),)))
    nothing = {"overall": {"volumes": None, "hc_error": None}}
    assert [mean.name for mean, _, _ in shown(nothing, "terminal")] == ["dsc", "iou", "covered"]
    assert [mean.name for mean, _, _ in shown(nothing, "page")] == ["dsc", "iou", "hd95", "nsd"]
    all_of_it = {"overall": {"volumes": 3, "hc_abs_error": {"n": 1}}}
    assert [mean.title for mean, _, _ in shown(all_of_it, "terminal")] == [
        "DSC",
        "mIoU",
        "|HC error| mm",
        "Covered",
        "DSC of volumes",
    ]
