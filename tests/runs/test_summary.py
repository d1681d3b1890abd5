"""What the cases of a run come to: losses that add up, head circumferences where there are any."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from salip_exp._runs.records import CaseRecord
from salip_exp._runs.runner import run
from salip_exp._runs.summary import losses, summarise
from salip_exp.evaluation.charges import lost_by


def record(i: int, dsc: float | None, charges: dict, group: str = "all", **values) -> CaseRecord:
    status, failure = values.pop("status", "ok"), values.pop("failure", None)
    failure = str(lost_by(charges)) if charges else failure
    told = {"scores": {"dsc": dsc, "iou": dsc, **values}, "failure": failure, "charges": charges}
    return CaseRecord("k", "f", f"case_{i}", "fake", group, None, None, "salip", status, **told)


RECORDS = [
    record(0, 0.9, {"prompt": 0.1, "sam": 0.0}, hc_mm=171.0, hc_error_mm=1.0),
    record(1, 0.8, {"prompt": 0.0, "sam": 0.1, "filter": 0.1}, hc_mm=167.0, hc_error_mm=-3.0),
    record(2, 0.1, {"prompt": 0.1, "sam": 0.1, "clip": 0.7}, hc_mm=180.0, hc_error_mm=10.0),
    record(3, 0.0, {"prompt": 0.0, "sam": 1.0}),
    record(4, 0.3, {"prompt": 0.2, "clip": 0.5}, "other"),
    record(5, None, {}, status="failed(E_READ)"),
]


def test_what_a_stage_loses_is_the_mean_of_its_charges_along_the_chain():
    found = losses(RECORDS)
    assert found == pytest.approx({"prompt": 0.4 / 5, "sam": 1.2 / 5, "filter": 0.1 / 5, "clip": 1.2 / 5})
    assert list(found) == ["prompt", "sam", "filter", "clip"]
    assert losses([RECORDS[5]]) == {}


def test_losses_add_up_to_what_the_mean_lacks_in_every_group(fakes):
    summary = summarise(RECORDS, fakes.config(), {})
    for part in (summary["overall"], *summary["groups"].values()):
        assert sum(part["losses"].values()) == pytest.approx(1 - part["dsc"]["mean"], abs=1e-12)
    assert summary["overall"]["failures"] == {"clip": 2, "none": 2, "sam": 1}


def test_an_empty_target_that_was_predicted_is_a_loss_of_its_own():
    cases = [
        record(0, 0.0, {}, status="empty_gt"),
        record(1, None, {}, status="empty_gt"),
        record(2, 0.5, {"sam": 0.5}),
    ]
    assert losses(cases) == {"sam": 0.25, "empty_gt": 0.5}


def test_what_an_older_version_found_is_told_apart(fakes):
    cases = [record(0, 0.5, {}, failure="none"), record(1, 0.5, {"prompt": 0.25, "sam": 0.25})]
    summary = summarise(cases, fakes.config(), {})
    assert summary["overall"]["losses"] == {"prompt": 0.125, "sam": 0.125, "none": 0.25}
    assert any(note.startswith("1 of 2 cases were finished by an older version") for note in summary["notes"])


def test_a_unet_has_no_stage_to_blame(fakes, tmp_path):
    cases = fakes.default_cases()[:3]
    run(fakes.config(method="unet"), tmp_path / "run", [], fakes.FakeLab(cases, fakes.Threshold()))
    part = json.loads((tmp_path / "run" / "summary.json").read_text())["overall"]
    assert part["failures"] == {}
    assert part["losses"] == {"ok": pytest.approx(1 - part["dsc"]["mean"])}


def test_circumferences_are_summed_up_with_their_sign_and_without(fakes):
    summary = summarise(RECORDS, fakes.config(), {})
    signed, size = summary["overall"]["hc_error"], summary["overall"]["hc_abs_error"]
    assert (signed["n"], signed["missing"], signed["mean"]) == (3, 3, pytest.approx(8 / 3))
    assert (size["n"], size["mean"]) == (3, pytest.approx(14 / 3))
    assert summary["groups"]["other"]["hc_error"] is summary["groups"]["other"]["hc_abs_error"] is None


def test_without_any_circumference_there_is_no_figure(fakes):
    part = summarise([record(0, 0.9, {}, nsd=0.5, hd95=3.0)], fakes.config(), {})["overall"]
    assert part["hc_error"] is part["hc_abs_error"] is None
    assert (part["nsd"]["mean"], part["hd95"]["mean"]) == (0.5, 3.0)


def test_preset_paper_with_other_sentences_says_so(fakes):
    paper = replace(fakes.config(), preset="paper")
    for config, sentences, said in ((paper, ["A disc."], 1), (paper, [], 0), (fakes.config(), ["A disc."], 0)):
        found = summarise(RECORDS, config, {}, sentences)["notes"]
        assert sum("other sentences than the authors'" in note for note in found) == said
