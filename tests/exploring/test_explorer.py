"""The page shows what a run computes: the same configuration gives the same numbers, to the bit."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salip_exp._execute import execute
from salip_exp._exploring.asked import Asked, asked_of
from salip_exp._exploring.explorer import Explorer
from salip_exp._exploring.saving import save
from salip_exp._runs.lab import Lab
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.errors import ConfigError

pytestmark = pytest.mark.ci

TYPED = [
    *("dataset=phantom_xray", "dataset.phantom.n=3", "sam=tiny", "clip=tiny", "sam.points_per_side=10"),
    *("figures=none", "progress=false"),
]


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    return Explorer(typed(compose(["task=explore", *TYPED])), tmp_path_factory.mktemp("explore"))


@pytest.fixture(scope="module")
def changed(explorer: Explorer) -> Asked:
    """Other sentences, a lower bar for candidates, a smaller area."""
    words = ("a dark lung's lobe, it's \\' 50 %", "ribs, in rows")
    return replace(asked_of(explorer.config), sentences=words, pred_iou_thresh=0.7, area_threshold=0.25)


def ids(explorer: Explorer) -> list[str]:
    return [ref.case_id for ref in explorer.dataset.refs]


def test_what_is_shown_is_what_the_saved_command_computes(explorer: Explorer, changed: Asked, tmp_path: Path) -> None:
    some = ids(explorer)[1:]
    shown = {each["id"]: each for each in explorer.scores(some, changed, masks=True)}
    saved = save(explorer.folder, explorer.config, ["task=explore", *TYPED], changed, explorer.dataset, some)
    assert execute(typed(compose(saved["overrides"])), tmp_path, [], Lab()) == 0
    table = pd.read_csv(tmp_path / "cases.csv", keep_default_na=False).set_index("case_id")
    assert list(table.index) == some
    for case_id, row in table.iterrows():
        found = shown[str(case_id)]
        told = [found["dsc"], found["confidence"], found["at_least"], found["status"], found["flag"] or ""]
        assert told == [row.dsc, row.confidence, row.dsc_at_least, row.status, row.flag]
    ranked = pd.read_parquet(tmp_path / "candidates.parquet")
    for case_id in some:
        told = explorer.case(case_id, changed, asked_of(explorer.config))
        of_run = ranked[(ranked.case_id == case_id) & ranked.kept].set_index("candidate")
        assert told["kept"][0] == len(of_run) and told["pool"][0] == (ranked.case_id == case_id).sum()
        for each in told["candidates"]:
            row = of_run.loc[each["number"]]
            assert np.float32(each["score"]) == row.score and each["selected"] == row.selected
            assert np.float32(each["sentences"]).tolist() == [row.sentence_1, row.sentence_2]


def test_ranks_now_and_before_are_of_the_same_masks(explorer: Explorer, changed: Asked) -> None:
    first, before = ids(explorer)[0], asked_of(explorer.config)
    same = explorer.case(first, before, before)
    assert all(each["rank"] == each["old"] and each["score"] == each["old_score"] for each in same["candidates"])
    now, then = explorer.case(first, changed, before), explorer.case(first, before, changed)
    moved = {each["old"]: each["rank"] for each in now["candidates"] if each["old"] is not None}
    assert moved == {each["rank"]: each["old"] for each in then["candidates"] if each["old"] is not None}
    (one,) = explorer.rankings([first], before, before)
    assert one["same"] and one["old"] == 1


def test_ties_are_ranked_as_a_run_ranks_them(tmp_path: Path) -> None:
    explorer = Explorer(typed(compose(["task=explore", *TYPED, "retrieval.ties=first"])), tmp_path)
    found = explorer._found(ids(explorer)[0], asked_of(explorer.config))
    ranks = explorer._ranks(replace(found, scores=np.zeros_like(found.scores)))
    assert [rank for rank, _ in ranks.values()] == list(range(1, len(found.kept) + 1))


def test_a_box_gives_the_mask_that_the_last_stage_gives(explorer: Explorer) -> None:
    first, asked = ids(explorer)[0], asked_of(explorer.config)
    (shown,) = explorer.scores([first], asked, masks=True)
    assert explorer.prompted(first, shown["boxes"], [])["mask"] == shown["mask"]
    assert explorer.prompted(first, shown["boxes"], [])["dsc"] == shown["dsc"]
    pointed = explorer.prompted(first, shown["boxes"][:1], [[10, 10, 0]])
    assert pointed["pixels"] >= 0 and pointed["mask"] != explorer.prompted(first, [], [[10, 10, 1]])["mask"]
    image = explorer.image(first)
    assert len(base64.b64decode(image["target"])) == image["width"] * image["height"] // 8


@pytest.mark.parametrize(
    ("boxes", "points"),
    [
        ([], []),
        ([[5, 5, 5, 5]], []),
        ([[float("nan")] * 4], []),
        ([[1, 2]], []),
        (["a"], []),
        ([], [[1, 1, 2]]),
        ([], [[-1, 1, 1]]),
        ([], [[9999, 1, 1]]),
        ([[1, 1, 9, 9], [20, 20, 40, 40]], [[5, 5, 1]]),
    ],
)
def test_a_prompt_that_is_none_is_refused(explorer: Explorer, boxes: list[object], points: list[object]) -> None:
    with pytest.raises(ConfigError):
        explorer.prompted(ids(explorer)[0], boxes, points)


def test_cases_are_found_by_place_and_by_a_part_of_their_name(explorer: Explorer) -> None:
    names = ids(explorer)
    assert [each[1] for each in explorer.listed(2, 9)] == [names[2], names[0], names[1]]
    assert explorer.like(names[1])[0][:2] == [1, names[1]] and explorer.like("no such case") == []
    assert [each[0] for each in explorer.like("CXR_")] == [each[0] for each in explorer.like("cxr_")] == [0, 1, 2]


def test_a_case_or_candidate_that_is_not_there_is_refused(explorer: Explorer) -> None:
    asked = asked_of(explorer.config)
    for case_id in ("", "../../etc/passwd"):
        with pytest.raises(ConfigError, match="there is no case"):
            explorer.image(case_id)
    for number in (-1, 10**9):
        with pytest.raises(ConfigError, match="there is no candidate"):
            explorer.candidate(ids(explorer)[0], asked, number)
