"""`tuned.yaml` sets what it names, and its images are left out of every score unless one says otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from salip_exp._runs.summary import notes
from salip_exp._settings.compose import compose
from salip_exp._settings.tuned import Tuned, read_tuned, tuned_yaml
from salip_exp._settings.validate import typed
from salip_exp._tuning.tuned_run import _refuse_both, tuned_run
from salip_exp._tuning.worker import applied, tried
from salip_exp.cli import quoted
from salip_exp.config import AreaUnit, Sampler
from salip_exp.errors import ConfigError, DataError

VALUES = {"sam.points_per_side": 8, "sam.pred_iou_thresh": 0.25, "area.threshold": 0.3}


@pytest.fixture
def tuned_file(stubs, tmp_path: Path) -> Path:
    config = applied(stubs.config(), VALUES)
    path = tmp_path / "tuned.yaml"
    path.write_text(tuned_yaml(config, list(VALUES), ["case 1"], ["1"], ["python -m salip_exp tuned=FILE"]))
    return path


def test_what_was_found_is_what_a_run_uses(tuned_file: Path) -> None:
    plain, config = typed(compose([])), typed(compose([f"tuned={tuned_file}"]))
    assert (config.sam.points_per_side, config.sam.pred_iou_thresh) == (8, 0.25)
    assert (config.area.threshold, config.area.unit) == (0.3, AreaUnit.fraction)
    assert config.sam.stability_score_thresh == plain.sam.stability_score_thresh
    assert read_tuned(tuned_file).images == ("case 1",)
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
    _refuse_both(found, ["salip-exp", "tuned=FILE", "sam.box_nms_thresh=0.7", "area.threshold=0.3"])
    with pytest.raises(ConfigError, match=r"sam\.pred_iou_thresh is typed"):
        _refuse_both(found, ["salip-exp", "tuned=FILE", "sam.pred_iou_thresh=0.7"])
    with pytest.raises(ConfigError, match=r"area\.threshold"):
        _refuse_both(Tuned({}, (0.3, AreaUnit.fraction), "stub", ()), ["salip-exp", "++area.threshold=0.3"])


def test_values_of_a_file_are_checked_as_if_they_were_typed(tuned_file: Path) -> None:
    tuned_file.write_text(tuned_file.read_text().replace("0.25", "2.5"))
    with pytest.raises(ConfigError, match=r"sam.pred_iou_thresh=2.5 is out of range"):
        typed(compose([f"tuned={tuned_file}"]))


def test_trials_alone_take_the_minimal_region_of_trials(stubs) -> None:
    config = stubs.config(min_mask_region_area=77)
    assert tried(config, VALUES).sam.min_mask_region_area == 77
    assert applied(config, VALUES).sam.min_mask_region_area == config.sam.min_mask_region_area


@pytest.fixture
def ran(stubs, tuned_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs with settings of a file, and gives the data set that is left to run on."""
    taken = []

    def run(config, folder, command, lab, listeners, choose) -> int:
        taken.append(choose(lab.dataset(config)))
        return 0

    monkeypatch.setattr("salip_exp._tuning.tuned_run.run", run)

    def start(config, cases=None):
        chosen = replace(config, tuned=str(tuned_file), task="run")
        assert tuned_run(chosen, tmp_path, [], stubs.StubLab(0, 0, cases)) == 0
        return taken.pop()

    return start


@pytest.mark.fault("C6")
def test_tuning_images_leave_the_data_set_with_their_reason(stubs, ran) -> None:
    data = ran(stubs.config(sampler=Sampler.none))
    assert [ref.case_id for ref in data.refs] == [f"case {i}" for i in (0, *range(2, 9))]
    assert list(data.excluded) == [("case 1", "used for tuning")]


@pytest.mark.fault("C6")
def test_other_images_of_their_subjects_leave_it_too(stubs, tuned_file: Path, ran) -> None:
    some = [replace(case, subject="1") if case.case_id in ("case 5", "case 7") else case for case in stubs.cases()]
    for text in (tuned_file.read_text(), tuned_file.read_text().replace("  subjects:\n  - '1'\n", "")):
        tuned_file.write_text(text)
        data = ran(stubs.config(sampler=Sampler.none), some)
        assert [ref.case_id for ref in data.refs] == [f"case {i}" for i in (0, 2, 3, 4, 6, 8)]
        said = "its subject was used for tuning"
        assert list(data.excluded) == [("case 1", "used for tuning"), ("case 5", said), ("case 7", said)]
    assert len(ran(stubs.config(sampler=Sampler.none, score_tuning_images=True), some).refs) == 9


@pytest.mark.fault("C6")
def test_a_list_of_ids_that_asks_for_tuning_images_is_refused(stubs, ran) -> None:
    config = stubs.config(sampler=Sampler.none)
    config.dataset.subset = "ids.txt"
    with pytest.raises(ConfigError, match=r"holds 1 tuning images \(case 1\): .* tuning.score_tuning_images=true"):
        ran(config)
    with pytest.raises(DataError, match="stub: none is left to score beside 1 tuning images"):
        ran(stubs.config(sampler=Sampler.none), stubs.cases()[1:2])


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.fault("C6")
def test_a_run_leaves_them_out_or_says_so(stubs, tuned_file: Path, ran, scored: bool) -> None:
    config = stubs.config(sampler=Sampler.none, score_tuning_images=scored)
    assert len(ran(config).refs) == (9 if scored else 8)
    assert any("tuned on test" in note for note in notes([], replace(config, tuned=str(tuned_file)), {})) == scored
