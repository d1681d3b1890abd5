"""Figures and sentences that stand in many places are worded in one."""

from __future__ import annotations

from salip_exp._wording import MISSING, interval, number


def test_what_rounds_to_nothing_has_no_sign():
    assert [number(each) for each in (-1e-9, 0.0, -0.0004, -0.0006, None)] == ["0.000"] * 3 + ["-0.001", MISSING]
    assert interval({"mean": -1e-17, "low": -1e-9, "high": 0.0, "interval": "t"}) == "0.000 [0.000, 0.000]"
