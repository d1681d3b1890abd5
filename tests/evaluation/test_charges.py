"""What a case lacks is shared out among the stages, whole, and none of them gains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.evaluation.charges import LOST, STAGES, Failure, charged, lost_by

DSC = st.floats(0, 1)


@given(st.lists(DSC, min_size=1, max_size=len(STAGES)))
def test_charges_add_up_and_are_never_negative_whatever_is_in_reach(values):
    charges = charged(dict(zip(STAGES, values, strict=False)))
    assert sum(charges.values()) == pytest.approx(1 - values[-1], abs=1e-12)
    assert min(charges.values()) >= 0
    assert list(charges) == [str(stage) for stage in STAGES[: len(values)]]


def test_a_stage_is_charged_with_what_it_took_out_of_reach():
    charges = charged({Failure.prompt: 0.95, Failure.sam: 0.9, Failure.filter: 0.5, Failure.clip: 0.5})
    assert charges == pytest.approx({"prompt": 0.05, "sam": 0.05, "filter": 0.4, "clip": 0})
    assert lost_by(charges) is Failure.filter


def test_what_was_got_was_in_reach():
    assert charged({Failure.sam: 0.5, Failure.filter: 0.25, Failure.choice: 0.75}) == {
        "sam": 0.25,
        "filter": 0.0,
        "choice": 0.0,
    }


def test_the_first_of_equals_lost_it_and_a_little_is_no_loss():
    assert lost_by({"prompt": 0.0, "sam": 0.4, "clip": 0.4}) is Failure.sam
    assert lost_by({"prompt": LOST, "sam": LOST / 2}) is Failure.none
