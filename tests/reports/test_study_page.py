"""The page of a study stands alone, shows its trials, and leads back to the page over all runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._reports.study_page import StudyPage, plots
from salip_exp._settings.tuning import AREA
from salip_exp._tuning.space import Dimension, Space
from salip_exp._tuning.trials import TrialRow, importances
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


def test_the_plots_show_the_trials_and_the_importances_of_the_report() -> None:
    space = Space((Dimension("sam.pred_iou_thresh", False, low=0.0, high=1.0), Dimension(AREA, False, (0.1, 0.5))))
    values = [space.draw(1, number) for number in range(40)]
    rows = [TrialRow(i, each, each["sam.pred_iou_thresh"], Outcome({}), None, 0.1) for i, each in enumerate(values)]
    rows[3] = TrialRow(3, {}, None, Outcome({}), "E_SCORE: a score is not finite", 0.1)
    shares = importances(rows, space)
    found = plots(rows, space, {"objective": "agreement", "importances": shares})
    assert list(found) == ["history", "importances", "slices", "parallel_coordinates"]
    history, best = found["history"].data[:2]
    shown = [each.value for each in rows if each.number in history.x and each.value is not None]
    assert list(history.y) == shown and max(best.y) == max(shown)
    assert dict(zip(found["importances"].data[0].y, found["importances"].data[0].x, strict=True)) == shares
    assert list(plots(rows, space, {"objective": "agreement", "importances": {}})) == [
        "history", "slices", "parallel_coordinates",
    ]  # fmt: skip
