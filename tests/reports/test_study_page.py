"""The page of a study stands alone, shows its trials, and leads back to the page over all runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._reports.study_page import StudyPage, gained, plots
from salip_exp._settings.tuning import AREA
from salip_exp._tuning.space import Dimension, Space
from salip_exp._tuning.trials import TrialRow
from salip_exp._tuning.tune import study_in
from salip_exp._tuning.worker import Outcome
from salip_exp.cache.store import MemoryStore


@pytest.fixture(scope="module")
def stubs(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(Path(__file__).parents[1] / "tuning" / "stubs.py")


@pytest.mark.parametrize("place", ["stub/tune/default", "stub/default/1/study"])
def test_the_page_leads_to_the_page_over_all_runs(stubs, blob_sam, random_clip, tmp_path, place: str) -> None:
    config = stubs.config(n_trials=2)
    config.outputs = str(tmp_path / "all runs")
    folder = tmp_path / "all runs" / place
    assert (
        study_in(config, folder, stubs.StubLab(blob_sam, random_clip, store=MemoryStore(2**28)), [StudyPage()]).code
        == 0
    )
    back = "../" * len(folder.relative_to(config.outputs).parts)
    assert (
        f'<nav aria-label="pages"><a href="{back}index.html">All runs</a></nav>' in (folder / "study.html").read_text()
    )


def report(objective: str = "agreement", best: int = 1) -> dict:
    return {"objective": objective, "best": {"trial": best}, "space": {"sam.pred_iou_thresh": {}, AREA: []}}


def test_the_plots_show_every_trial_with_the_winner_in_red() -> None:
    space = Space((Dimension("sam.pred_iou_thresh", False, low=0.0, high=1.0), Dimension(AREA, False, (0.1, 0.5))))
    values = [space.draw(1, number) for number in range(40)]
    rows = [TrialRow(i, each, each["sam.pred_iou_thresh"], Outcome({}), None, 0.1) for i, each in enumerate(values)]
    rows[3] = TrialRow(3, {}, None, Outcome({}), "E_SCORE: a score is not finite", 0.1)
    found = plots(rows, report())
    assert list(found) == ["history", "sam.pred_iou_thresh", AREA]
    for each in found.values():
        assert each.chart.count('<circle class="trial"') == 39 and each.chart.count('<circle class="best"') == 1
    assert found["history"].chart.count("<polyline") == 1
    assert plots(rows[3:4], report()) == {}, "of no trial with a value there is nothing to draw"


def test_one_outlier_does_not_flatten_the_others_and_is_counted() -> None:
    scores = [0.1, *(0.9 + i / 1000 for i in range(20))]
    rows = [TrialRow(i, {AREA: i / 20}, score, Outcome({}), None, 0.1) for i, score in enumerate(scores)]
    chart = plots(rows, report(best=20))["history"].chart
    assert "1 trial lower, at the foot" in chart and ">0.900<" in chart and ">0.1" not in chart.split("start")[0]


@pytest.mark.parametrize(("n", "said"), [(3, "n < 10"), (10, "126 %")])
def test_a_share_of_the_gain_is_told_of_enough_cases_alone(n: int, said: str) -> None:
    assert gained({"recovered": 1.26, "held_out": {"n": n}}) == said
    assert gained({"recovered": None, "held_out": {"n": n}}) == ""
