"""`tuned.yaml` sets what it names, and its images are left out of every score unless one says otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from salip_exp.cli import quoted
from salip_exp.config import AreaUnit, Sampler
from salip_exp.errors import ConfigError, DataError
from salip_exp.runs.summary import notes
from salip_exp.settings.compose import compose
from salip_exp.settings.tuned import Tuned, read_tuned, tuned_yaml
from salip_exp.settings.validate import typed
from salip_exp.tuning.tuned_run import left_out, refuse_both, tuned_run
from salip_exp.tuning.worker import applied, tried

VALUES = {"sam.points_per_side": 8, "sam.pred_iou_thresh": 0.25, "area.threshold": 0.3}


@pytest.fixture
def tuned_file(stubs, tmp_path: Path) -> Path:
    config = applied(stubs.config(), VALUES)
    path = tmp_path / "tuned.yaml"
    path.write_text(tuned_yaml(config, list(VALUES), ["case 1", "case 3"], ["python -m salip_exp tuned=FILE"]))
    return path


def test_what_was_found_is_what_a_run_uses(tuned_file: Path) -> None:
    plain, config = typed(compose([])), typed(compose([f"tuned={tuned_file}"]))
    assert (config.sam.points_per_side, config.sam.pred_iou_thresh) == (8, 0.25)
    assert (config.area.threshold, config.area.unit) == (0.3, AreaUnit.fraction)
    assert config.sam.stability_score_thresh == plain.sam.stability_score_thresh
    assert read_tuned(tuned_file).images == ("case 1", "case 3")
    assert quoted(f"+tuned={tuned_file}") == f"tuned={tuned_file}"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "version: 2", "version: 1\nsam: {points_per_side: 8.5}\ntuned_on: {dataset: a, images: []}", "a: [",
     "version: 1\nsam: {weights: x}\ntuned_on: {dataset: a, images: []}", "version: 1\ntuned_on: {images: 5}"],
)  # fmt: skip
def test_another_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        typed(compose([f"tuned={path}"]))
    assert "tuned=" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_setting_that_is_typed_and_in_the_file_is_refused() -> None:
    found = Tuned({"pred_iou_thresh": 0.5}, None, "stub", ())
    refuse_both(found, ["salip-exp", "tuned=FILE", "sam.box_nms_thresh=0.7", "area.threshold=0.3"])
    with pytest.raises(ConfigError, match=r"sam\.pred_iou_thresh is typed"):
        refuse_both(found, ["salip-exp", "tuned=FILE", "sam.pred_iou_thresh=0.7"])
    with pytest.raises(ConfigError, match=r"area\.threshold"):
        refuse_both(Tuned({}, (0.3, AreaUnit.fraction), "stub", ()), ["salip-exp", "++area.threshold=0.3"])


def test_values_of_a_file_are_checked_as_if_they_were_typed(tuned_file: Path) -> None:
    tuned_file.write_text(tuned_file.read_text().replace("0.25", "2.5"))
    with pytest.raises(ConfigError, match=r"sam.pred_iou_thresh=2.5 is out of range"):
        typed(compose([f"tuned={tuned_file}"]))


def test_trials_alone_take_the_minimal_region_of_trials(stubs) -> None:
    config = stubs.config(min_mask_region_area=77)
    assert tried(config, VALUES).sam.min_mask_region_area == 77
    assert applied(config, VALUES).sam.min_mask_region_area == config.sam.min_mask_region_area


@pytest.mark.fault("C6")
def test_tuning_images_leave_the_data_set_with_their_reason(stubs) -> None:
    config = stubs.config()
    data = left_out(stubs.dataset(stubs.cases()), ["case 1", "elsewhere"], config)
    assert [ref.case_id for ref in data.refs] == [f"case {i}" for i in (0, *range(2, 9))]
    assert list(data.excluded) == [("case 1", "used for tuning")]


@pytest.mark.fault("C6")
def test_a_list_of_ids_that_asks_for_tuning_images_is_refused(stubs) -> None:
    config = stubs.config()
    config.dataset.subset = "ids.txt"
    with pytest.raises(ConfigError, match=r"holds 1 tuning images \(case 1\): .* tuning.score_tuning_images=true"):
        left_out(stubs.dataset(stubs.cases()), ["case 1"], config)
    with pytest.raises(DataError, match="stub: none is left to score beside 1 tuning images"):
        left_out(stubs.dataset(stubs.cases()[:1]), ["case 0"], stubs.config())


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.fault("C6")
def test_a_run_leaves_them_out_or_says_so(
    stubs, tuned_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: bool
) -> None:
    config = replace(stubs.config(sampler=Sampler.none, score_tuning_images=scored), tuned=str(tuned_file), task="run")
    taken = []

    def run(config, folder, command, prepare) -> int:
        taken.append(prepare(config, None)[0])
        return 0

    monkeypatch.setattr("salip_exp.tuning.tuned_run.run", run)
    data = stubs.dataset(stubs.cases())
    assert tuned_run(config, tmp_path, [], lambda config, stages: (data, None)) == 0
    assert len(taken[0].refs) == (9 if scored else 7)
    assert any("tuned on test" in note for note in notes([], config, {})) == scored
