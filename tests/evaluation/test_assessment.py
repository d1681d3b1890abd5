"""Confidence: more of a signal never lowers it, bounds hold as often as they say, and each flag has its stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.config import ClipConfig, ConfidenceConfig, Config, DatasetConfig, Doubt, SamConfig, VdtConfig
from salip_exp.errors import ConfigError
from salip_exp.evaluation._assessment import Assessor, at_least, fits, nonconformity, require_enough
from salip_exp.evaluation._confidence import SIGNALS
from salip_exp.evaluation.flags import REASONS, STAGE_OF, Stage
from salip_exp.methods.base import Prediction, Status

NAMES = sorted(SIGNALS)
SOME = st.fixed_dictionaries({name: st.floats(0, 1) for name in NAMES})


ENSEMBLE = ConfidenceConfig(signals=[Doubt.ensemble], by=Doubt.ensemble, level=0.999)


def config(**changes) -> Config:
    parts = {"dataset": DatasetConfig("stub", "folder"), "sam": SamConfig("tiny"), "clip": ClipConfig("tiny")}
    return Config(**(parts | {"vdt": VdtConfig("stub")} | changes))


@pytest.fixture
def prediction(make_pool) -> Prediction:
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 2:12, 3:20], masks[1, 12:19, 1:4] = True, True
    pool, scores = make_pool(masks), np.array([0.9, 0.2], np.float32)
    found = Prediction(masks[0], Status.ok, pool, np.arange(2), scores, [0], [0.9], pool.boxes[:1])
    return replace(found, sentence_scores=scores[None], contrast_scores=scores[None] - 0.5)


@given(SOME, st.sampled_from(NAMES), st.floats(0, 1))
def test_more_of_a_signal_never_lowers_a_confidence(told: dict[str, float], name: str, more: float) -> None:
    for fit in fits():
        low, high = sorted([told[name], more])
        worse, better = fit.expected(told | {name: low}), fit.expected(told | {name: high})
        assert 0.0 <= worse <= better <= 1.0
        assert fit.stage(told) in Stage


def test_fits_are_of_their_signals_and_none_repeats_another() -> None:
    assert len({(each.prompted, each.embedded, tuple(each.usual)) for each in fits()}) == len(fits()) == 6
    assert all(set(each.weights) <= set(each.usual) <= set(SIGNALS) for each in fits())
    assert all(bool(each.question) == each.embedded == ("contrast" in each.usual) for each in fits())
    assert all(list(each.residuals) == sorted(each.residuals) for each in fits())


def test_every_signal_has_a_stage_and_every_stage_a_reason() -> None:
    assert set(STAGE_OF) == set(SIGNALS) == set(map(str, Doubt)) - {"confidence"}
    assert set(STAGE_OF.values()) == set(REASONS) == set(Stage)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.8, 0.9]))
def test_a_bound_never_exceeds_the_worst_that_was_seen(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    confidence, dsc = rng.uniform(size=(2, 9))
    residuals = sorted(nonconformity(c, d) for c, d in zip(confidence, dsc, strict=True))
    bounds = [at_least(each, residuals, level) for each in confidence]
    assert np.mean(np.array(bounds) <= dsc + 1e-9) >= level


def test_a_bound_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1234)
    held = []
    for _ in range(400):
        confidence, noise = rng.uniform(0.3, 1, 60), rng.normal(0, 0.2, 60)
        dsc = np.clip(confidence + noise, 0, 1)
        residuals = sorted(nonconformity(c, d) for c, d in zip(confidence[:-1], dsc[:-1], strict=True))
        held.append(at_least(confidence[-1], residuals, 0.9) <= dsc[-1])
    assert 0.87 <= np.mean(held) <= 0.94


def test_no_bound_lies_above_the_highest_dsc_that_there_is() -> None:
    doubted = sorted(nonconformity(each, 1.0) for each in np.linspace(0.2, 0.6, 9))
    assert doubted[-1] < 0, "DSC was higher than expected, in all of the calibration"
    assert at_least(0.98, doubted, 0.9) == 1.0


def test_a_level_that_so_few_subjects_say_nothing_about_is_refused() -> None:
    require_enough(9, 0.9)
    with pytest.raises(ConfigError, match=r"confidence.level=0.9 needs 9 subjects .* there are 8: take at most 0.888"):
        require_enough(8, 0.9)
    with pytest.raises(ConfigError, match=r"confidence.level=0.999 needs 999 subjects"):
        Assessor(config(confidence=ConfidenceConfig(level=0.999)))


def test_what_is_doubted_of_an_empty_prediction_is_what_left_nothing(make_pool) -> None:
    nothing = Prediction(np.zeros((20, 30), bool), Status.no_masks, make_pool(np.zeros((0, 20, 30), bool)))
    nothing = replace(nothing, contrast_scores=np.zeros((7, 0), np.float32))
    told = Assessor(config(method="sam_clip"))(nothing)
    assert (told.flag, told.confidence, told.at_least) == (Stage.everything, 0.0, 0.0)


def test_signals_of_clip_count_for_the_network_that_they_were_fitted_with(prediction: Prediction) -> None:
    torn = replace(prediction, contrast_scores=prediction.contrast_scores + 1)
    own, other = (config(method="sam_clip", clip=ClipConfig(name)) for name in ("tiny", "vit_b_32"))
    assert Assessor(own)(torn).confidence < Assessor(own)(prediction).confidence
    assert Assessor(other)(torn).confidence == Assessor(other)(prediction).confidence


@pytest.mark.parametrize(("rows", "found", "flag"), [(12, 1, None), (7, 2 / 3, Stage.prompt)])
def test_a_signal_that_is_the_confidence_is_it_as_it_is(
    prediction: Prediction, rows: int, found: float, flag: Stage | None
) -> None:
    compact = replace(prediction, mask=prediction.mask & (np.arange(20) < rows)[:, None])
    by = config(method="sam_clip", confidence=ConfidenceConfig(signals=[Doubt.agreement], by=Doubt.agreement))
    told = Assessor(by)(compact)
    assert told.confidence == pytest.approx(found) and told.flag is flag
    assert told.at_least is None, "nothing of it was calibrated"
    assert Assessor(by, [0.0] * 9)(compact).at_least == told.confidence


def test_nothing_is_said_where_it_cannot_be(prediction: Prediction) -> None:
    assert Assessor(config(method="oracle"))(prediction).signals == {}, "it was given the target"
    assert Assessor(config(confidence=ConfidenceConfig(signals=[])))(prediction).scores == {}
    few = ConfidenceConfig(signals=[Doubt.shape])
    assert Assessor(config(confidence=ENSEMBLE))(prediction).confidence is None, "no boxes prompt"
    assert Assessor(config(confidence=few))(prediction).confidence is None, "no fit is for so little"
