"""What explore.run goes on from is the run's configuration, and what is saved of it composes to the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from salip_exp._exploring.asked import asked_of
from salip_exp._exploring.from_run import from_run
from salip_exp._exploring.saving import save
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config
from salip_exp.data.case import CaseRef, Dataset, failing
from salip_exp.errors import CaseError, ConfigError, DataError

pytestmark = pytest.mark.ci

RUN = [
    *("dataset=phantom_xray", "sam=tiny", "clip=tiny", "+ablation=no_filter", "sam.points_per_side=10", "seed=5"),
    *("vdt=custom", "vdt.sentences=['a \"lung\", dark','ribs']", "stress=speckle:2", "cache.memory_mb=7"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a run"
    folder.mkdir()
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(typed(compose(RUN)))))
    return folder


def explored(run: Path, *more: str) -> tuple[Config, list[str]]:
    words = ["task=explore", f"explore.run='{run}'", "explore.case=x", *more]
    return from_run(typed(compose(words)), words)


def test_a_run_is_gone_on_from_and_saved_to_the_same(run: Path, tmp_path: Path) -> None:
    base, overrides = explored(run, "threads=1")
    ran = typed(compose(RUN))
    assert replace(base, task=ran.task, explore=ran.explore, threads=ran.threads) == ran
    assert base.explore.case == "x" and base.cache.memory_mb == 7 and base.threads == 1
    asked = replace(asked_of(base), box_nms_thresh=0.5)
    dataset = Dataset("d", [CaseRef("a", "g", "a", failing(CaseError("E_READ", "not read")))])
    told = save(tmp_path, base, overrides, asked, dataset, ["a"])
    assert asked_of(typed(compose(told["overrides"]))) == asked


def test_what_the_run_says_is_not_typed(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave out seed=3, sam\.points_per_side=4"):
        explored(run, "seed=3", "sam.points_per_side=4")


def test_a_run_that_is_none_or_has_no_ranking_is_refused(run: Path) -> None:
    with pytest.raises(DataError, match=r"config\.yaml cannot be read"):
        explored(run.parent)
    (run / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(typed(compose(["method=unprompted_sam"])))))
    with pytest.raises(ConfigError, match="has no ranking"):
        explored(run)
