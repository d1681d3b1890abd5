"""The ladder says what each stage loses, and the same as the charges of SaLIP's cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from salip_exp._experiments.ladder import lost
from salip_exp._experiments.results import Result
from salip_exp._experiments.verdict import reading
from salip_exp.config import Config

Make = Callable[..., Result]
RUNGS = {"gt_sam": [0.9, 0.5], "oracle_no_filter": [0.8, 0.7], "oracle": [0.8, 0.6], "salip": [0.5, 0.6]}
CHARGES = {"prompt": (0.1, 0.3), "sam": (0.1, 0.0), "filter": (0.0, 0.1), "clip": (0.3, 0.0)}


def test_the_rungs_are_climbed_case_by_case(constructed: Make, config: Config) -> None:
    """The first case is out of reach of the pool; the second's target prompts worse than a candidate."""
    found = lost(constructed("ladder", RUNGS, {"salip": [0.5]}), config)
    assert [(each.label, each.n) for each in found] == [("CC359", 2), ("X-ray", 0)]
    means = {stage: each["mean"] for stage, each in found[0].stages.items()}
    assert means == pytest.approx({stage: sum(values) / 2 for stage, values in CHARGES.items()})
    assert sum(means.values()) == pytest.approx(1 - 0.55, abs=1e-12)
    assert found[1].stages == {} and found[1].apart is None


def test_what_the_records_charge_otherwise_is_said(constructed: Make, config: Config) -> None:
    result = constructed("ladder", RUNGS)
    row, entries = result.rows[0]
    charges = {f"case {i}": {stage: values[i] for stage, values in CHARGES.items()} for i in range(2)}
    same = replace(result, rows=[(row, {**entries, "salip": replace(entries["salip"], charges=charges)})])
    assert lost(same, config)[0].apart == pytest.approx(0, abs=1e-12)
    charges["case 1"] = {"sam": 0.4}
    other = replace(result, rows=[(row, {**entries, "salip": replace(entries["salip"], charges=charges)})])
    assert lost(other, config)[0].apart == pytest.approx(0.4)
    assert "the charges of SaLIP's own cases differ by at most 4e-01." in reading(other, config)


def test_it_is_said_in_one_sentence_for_each_row(constructed: Make, config: Config) -> None:
    said = reading(constructed("ladder", RUNGS, {"salip": [0.5]}), config)
    assert said.startswith("DSC lost on CC359 (n = 2): prompt 0.200 [")
    assert said.endswith("DSC lost on X-ray: missing, a rung is.")


def test_a_table_without_rungs_has_no_losses(constructed: Make, config: Config) -> None:
    assert lost(constructed("table6", {"salip": [0.5]}), config) == []
