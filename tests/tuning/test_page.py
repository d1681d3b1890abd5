"""The page of a study stands alone and leads back to the page over all runs."""

from __future__ import annotations

import pytest

from salip_exp.cache.store import MemoryStore
from salip_exp.reports.study_page import StudyPage
from salip_exp.tuning.tune import study_in


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
