"""Any two runs are compared as `evaluation` compares them: over common cases, whole volumes resampled."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salip_exp._reports import index_page as paired
from salip_exp._reports.index_page import LATEST, Compared, Row, row_of, write_index
from salip_exp._runs.folder import RunFolder, State
from salip_exp._runs.records import CaseRecord
from salip_exp.evaluation.statistics import _signed_rank, compare, estimate


def run(name: str, scores, volumes=None, dataset: str = "fake") -> RunFolder:
    """A run of cases c0, c1, ...; a score of None is of a case without one."""
    cases = enumerate(zip(scores, volumes or [None] * len(scores), strict=True))
    records = [
        CaseRecord("", "", f"c{i}", dataset, "all", volume, None, "salip", "ok", scores={"dsc": dsc})
        for i, (dsc, volume) in cases
    ]
    return RunFolder(Path(name), State.finished, "", {}, {}, tuple(records), 0, {"figures": [], "strips": []})


def named(*runs: RunFolder) -> list[tuple[str, Row]]:
    return [(str(each.folder), row_of(each)) for each in runs]


def paired_differences(runs, known: Compared | None = None) -> list[dict]:
    return paired.paired_differences(runs, known or Compared({}))


def two(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.beta(8, 2, n)
    return a, a + rng.normal(0.02, 0.05, n)


def entry(runs, a: str = "a", b: str = "b") -> dict:
    return next(each for each in paired_differences(runs) if (each["a"], each["b"]) == (a, b))


def test_the_difference_and_its_interval_are_those_of_evaluation():
    a, b = two()
    found = entry(named(run("a", a), run("b", b)))
    expected = estimate(list(b - a), bounds=(-1, 1))
    assert expected.interval == "cases"
    assert (found["n"], found["subjects"]) == (40, None)
    assert [found[key] for key in ("difference", "low", "high")] == pytest.approx(
        [expected.mean, expected.low, expected.high]
    )
    assert found["p"] == _signed_rank(b - a)


def test_volumes_are_resampled_whole():
    rng = np.random.default_rng(1)
    a, _ = two(120)
    b = a + np.repeat(rng.normal(0.01, 0.05, 6), 20)
    volumes = [f"v{i // 20}" for i in range(120)]
    found = entry(named(run("a", a, volumes), run("b", b, volumes)))
    expected, alone = estimate(list(b - a), volumes, bounds=(-1, 1)), estimate(list(b - a), bounds=(-1, 1))
    assert expected.interval == "subjects"
    assert (found["n"], found["subjects"]) == (120, 6)
    assert [found["low"], found["high"]] == pytest.approx([expected.low, expected.high])
    assert found["high"] - found["low"] > 2 * (alone.high - alone.low)


def test_volumes_of_one_name_in_two_groups_are_two():
    a, b = two(4)
    runs = [run(name, scores, ["v0", "v0", "v1", "v1"]) for name, scores in (("a", a), ("b", b))]
    halved = [
        replace(each, records=tuple(replace(case, group=f"group {i % 2}") for i, case in enumerate(each.records)))
        for each in runs
    ]
    assert [entry(named(*each))["subjects"] for each in (runs, halved)] == [2, None]


def test_where_a_case_is_no_slice_cases_are_resampled():
    a, b = two()
    volumes = ["v0"] * 39 + [None]
    found = entry(named(run("a", a, volumes), run("b", b, volumes)))
    assert found["subjects"] is None
    assert found["low"] == pytest.approx(estimate(list(b - a), bounds=(-1, 1)).low)


def test_only_cases_that_both_have_a_score_of_count():
    found = entry(named(run("a", [0.5, None, 0.7, 0.1, 0.3]), run("b", [0.6, 0.9, 0.9, None])))
    assert found["n"] == 2
    assert found["difference"] == pytest.approx(0.15)


def test_a_run_differs_from_itself_by_nothing_and_without_an_interval():
    found = entry(named(run("a", two()[0])), b="a")
    assert [found[key] for key in ("n", "difference", "low", "high")] == [40, 0.0, 0.0, 0.0]


def test_runs_without_common_cases_are_left_out():
    runs = named(run("a", [0.5, None]), run("b", [None, 0.5]), run("c", [0.5, 0.5], dataset="other"), run("d", []))
    assert {(each["a"], each["b"]) for each in paired_differences(runs)} == {("a", "a"), ("b", "b"), ("c", "c")}


def test_the_latest_runs_of_each_data_set_are_compared():
    many = [run(f"m{i}", [0.5, 0.6]) for i in range(LATEST + 1)]
    found = paired_differences(named(*many, run("other", [0.5], dataset="other")))
    assert len(found) == LATEST * (LATEST + 1) // 2 + 1
    assert f"m{LATEST}" not in {each["b"] for each in found}


def test_what_has_not_changed_is_not_compared_again(monkeypatch):
    asked = []
    monkeypatch.setattr(paired, "compare", lambda *given, **how: asked.append(given) or compare(*given, **how))
    a, b = two()
    known = Compared({})
    found = paired_differences(named(run("a", a), run("b", b)), known)
    assert len(asked) == 3
    kept = json.loads(json.dumps(known.used))
    assert paired_differences(named(run("a", a), run("b", b)), Compared(kept)) == found
    assert len(asked) == 3
    paired_differences(named(run("a", a), run("b", b[:39])), Compared(kept))
    assert len(asked) == 5, "b with itself, and with a"


def test_the_page_holds_what_was_found(tmp_path):
    a, b = two()
    volumes = [f"v{i // 8}" for i in range(40)]
    runs = [run(str(tmp_path / name), scores, volumes) for name, scores in (("a", a), ("b", b))]
    write_index(tmp_path, {each.folder: row_of(each) for each in runs})
    page = (tmp_path / "compare.html").read_text()
    held = json.loads(re.search(r'id="paired-data">(.*?)</script>', page)[1])
    assert held == paired_differences([(each.folder.name, row_of(each)) for each in runs])
    assert f"the latest {LATEST} runs of a data set" in page


def shown(folder: Path, **runs: Row) -> str:
    write_index(folder, {folder / name: row for name, row in runs.items()})
    return (folder / "index.html").read_text()


def test_runs_are_called_by_what_tells_them_from_their_neighbours(tmp_path):
    row = row_of(run("a", [0.5, 0.6]))
    one = replace(row, words=["no filter", "first 24 cases"], started="2026-01-02T03:04:05")
    page = shown(tmp_path, a=one, b=replace(row, words=["first 24 cases"]), c=row)
    for name in ("no filter", "default", "c"):
        assert f"<b>{name}</b>" in page
    assert page.count('<span class="dim small">first 24 cases</span>') == 2, "what both have is pale"
    choices = json.loads(re.search(r'id="runs-data">(.*?)</script>', (tmp_path / "compare.html").read_text())[1])
    assert choices[0]["title"] == "no filter, first 24 cases · fake · 2026-01-02 03:04", (
        "the whole name, the latest first"
    )


def test_a_run_whose_cases_failed_is_red_and_counted(tmp_path):
    row = row_of(run("a", [0.5, None]))
    page = shown(tmp_path, a=replace(row, failed=2), b=replace(row, failed=1))
    assert '<span class="failed">finished, all 2 cases failed</span>' in page
    assert '<span class="failed">finished, 1 of 2 cases failed</span>' in page
    assert '<span class="bad">3 cases failed</span>' in page


def test_of_a_run_whose_cases_all_failed_nothing_is_said_to_be_there(tmp_path):
    row = replace(row_of(run("a", [None, None])), failed=2, n_used=2, summary={})
    page = shown(tmp_path, a=row)
    assert "none of 2 scored" in page and "on disk" not in page and "(2/2)" not in page


def test_cells_of_experiments_stand_apart(tmp_path):
    row = row_of(run("a", [0.5]))
    page = shown(tmp_path, **{"a": row, "cells/x": row})
    own, cells = page.split("<h2>Runs of experiments</h2>")
    assert 'value="a"' in own and 'value="cells/x"' in cells and "1 run:" in own


def test_runs_of_one_name_and_minute_are_told_apart_by_their_folders(tmp_path):
    row = replace(row_of(run("a", [0.5])), words=[], started="2026-01-02T03:04:05")
    page = shown(tmp_path, x=row, y=row)
    assert "pick default · fake · 2026-01-02 03:04 · x" in page and "03:04 · y" in page
