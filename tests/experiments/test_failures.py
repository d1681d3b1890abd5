"""The pool of failures: its cells, the cases of runs that join it, and what each measure of confidence is worth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._experiments.cells import Finished
from salip_exp._experiments.composing import composed, overrides_of
from salip_exp._experiments.failures import Pool, failure_cells, pooled, worth_of
from salip_exp._reports.failures import failures_json, lines_of, to_csv, write_failures
from salip_exp._runs.records import CaseRecord
from salip_exp._runs.risk import subjects_in_pool
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config, Failures
from salip_exp.data.stress import CORRUPTIONS
from salip_exp.errors import ConfigError, DataError


def record(
    i: int, dsc: float | None, told: float | None, dataset: str = "hc18", stress: str | None = None
) -> CaseRecord:
    kept = {"scores": {"dsc": dsc}, "predicted_iou": told, "stress": stress}
    return CaseRecord("k", "f", f"{i}", dataset, "g", None, None, "salip", "ok", f"s{i}", **kept)


@pytest.fixture(scope="module")
def config() -> Config:
    return typed(compose(["+experiment=failures", "score.resamples=100"]))


@pytest.fixture
def pool() -> Pool:
    """Two clean cases of each of two data sets, one of each that stress spoils, and two wrong questions."""
    right = [record(i, 0.9 + i / 100, 0.8 + i / 100, name) for name in ("hc18", "xray") for i in range(2)]
    right += [record(0, 0.3, 0.4, name, "blur:4") for name in ("hc18", "xray")]
    return Pool(right, [record(0, 0.0, 0.5), record(1, None, 0.0)])


@pytest.mark.ci
def test_cells_are_each_data_set_clean_under_stress_and_wrongly_asked(config: Config) -> None:
    cells = failure_cells(config.experiment.failures, [])
    assert len(cells) == 3 * (1 + 2 * len(CORRUPTIONS) + 3) == len({cell.name for cell in cells})
    for cell in cells[:: len(CORRUPTIONS)]:
        found = composed(overrides_of(cell, config, []), config)
        assert found.dataset.sample == 12
        assert found.dataset.absent is cell.column.startswith("asked")
        assert (found.stress or "clean") == cell.column or found.dataset.absent


def test_what_the_user_chooses_of_cases_wins() -> None:
    chosen = Failures(datasets=["hc18"], stress=["blur"], severities=[3])
    assert {cell.overrides[-1] for cell in failure_cells(chosen, [])} == {"dataset.sample=12"}
    for typed_by_user in (["dataset.limit=2"], ["dataset.subset=ids.txt"]):
        assert all("sample" not in str(cell.overrides) for cell in failure_cells(chosen, typed_by_user))


def test_no_severities_are_no_stress() -> None:
    columns = [cell.column for cell in failure_cells(Failures(datasets=["xray"], severities=[]), [])]
    assert columns == ["clean", "asked for brain", "asked for fetal_head", "asked nonsense"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("experiment.failures.stress=[specle]", "holds specle, which is none of speckle"),
        ("experiment.failures.datasets=[liver]", "holds liver, which is none of cc359"),
        ("experiment.failures.severities=[6]", "allowed is 1 to 5"),
        ("stress=blur:1", "experiment.failures.stress"),
    ],
)
def test_what_the_pool_cannot_be_of_is_told(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        typed(compose(["+experiment=failures", override]))


def test_each_part_of_the_pool_is_judged(pool: Pool, config: Config) -> None:
    worth = worth_of(pool, config)
    assert list(worth.signals) == ["hc18", "xray", "all", "all and wrong questions"]
    found = worth.signals["all"]["predicted_iou"]
    assert (found.n, found.poor, found.measures["auroc"].value) == (6, 2, 1)
    whole = worth.signals["all and wrong questions"]["predicted_iou"]
    assert (whole.n, whole.poor, whole.missing) == (7, 3, 1)
    assert {name: each["dsc"]["n"] for name, each in worth.stress.items()} == {"": 4, "blur:4": 2}
    assert [each["poor"] for each in worth.stress.values()] == [0, 2]


def test_questions_are_told_apart_on_clean_images_alone(pool: Pool, config: Config) -> None:
    worth = worth_of(pool, config)
    assert list(worth.questions) == ["hc18", "all"]
    assert (worth.questions["hc18"]["predicted_iou"].n, worth.questions["all"]["predicted_iou"].n) == (4, 6)
    assert worth.questions["all"]["predicted_iou"].poor == 2
    assert worth.questions["all"]["predicted_iou"].measures["auroc"].value == 1


def test_what_is_left_is_told_before_and_after(pool: Pool, config: Config) -> None:
    left = worth_of(pool, config).left["all"]["predicted_iou"]
    assert (left.n, left.worst, left.kept.n, left.kept.worst) == (6, 0.3, 6, 0.3)
    few = worth_of(Pool([*pool.right, *pool.right], []), config).left["all"]["predicted_iou"]
    assert (few.n, few.kept.n) == (12, 11)


def test_a_bound_holds_for_a_subject_where_it_holds_for_all_its_cases(config: Config) -> None:
    def bounded(i: int, dsc: float, bound: float | None) -> CaseRecord:
        each = record(i, dsc, 0.5)
        return each if bound is None else replace(each, scores=each.scores | {"dsc_at_least": bound})

    cases = [
        bounded(0, 0.9, 0.8),
        bounded(0, 0.5, 0.6),
        bounded(1, 0.9, 0.8),
        bounded(2, 0.9, 0.9),
        bounded(3, 0.1, None),
    ]
    worth = worth_of(Pool(cases, [bounded(4, 0.0, 0.9)]), config)
    assert set(worth.bounds) == {"hc18"}, "a wrong question is promised nothing"
    assert (worth.bounds["hc18"]["n"], worth.bounds["hc18"]["mean"]) == (3, pytest.approx(2 / 3))
    assert "bounds,hc18,dsc_at_least,3," in to_csv(worth)
    assert any(each.title.startswith("The bound") for each in lines_of(worth, config))


def test_a_pool_of_nothing_has_no_tables(config: Config, tmp_path: Path) -> None:
    worth = worth_of(Pool([], []), config)
    assert lines_of(worth, config) == []
    assert write_failures(tmp_path, Pool([], []), worth, config, []) == []


def test_tables_and_figures_are_written(pool: Pool, config: Config, tmp_path: Path) -> None:
    worth = worth_of(pool, config)
    entries = write_failures(tmp_path, pool, worth, config, ["said <of> all"])
    assert [entry["name"] for entry in entries] == ["risk_coverage", "reliability"]
    assert all((tmp_path / entry[kind]).stat().st_size > 1000 for entry in entries for kind in ("file", "pdf"))
    assert r"said \<of\> all" in (tmp_path / "failures.md").read_text()
    assert "Wrong questions" in (tmp_path / "failures.txt").read_text()
    rows = list(csv.DictReader(io.StringIO(to_csv(worth))))
    assert {row["figure"] for row in rows} >= {"auroc", "naurc", "fpr95"}
    assert next(row["value"] for row in rows if row["cases"] == "all" and row["figure"] == "auroc") == "1.0"
    assert "nan" not in to_csv(worth).lower()
    json.dumps(failures_json(worth, config), allow_nan=False)


@pytest.mark.ci
def test_the_same_pool_gives_the_same_bytes(pool: Pool, config: Config, tmp_path: Path) -> None:
    places = [tmp_path / name for name in "ab"]
    for place in places:
        place.mkdir()
        write_failures(place, pool, worth_of(pool, config), config, [])
    for each in places[0].iterdir():
        assert each.read_bytes() == (places[1] / each.name).read_bytes()


def test_runs_join_the_pool_and_say_themselves_whether_they_were_asked_wrongly(
    module_at: Callable[[Path], ModuleType], tmp_path: Path
) -> None:
    fakes = module_at(Path(__file__).parents[1] / "runs" / "fakes.py")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    assert fakes.run_fake(right, figures="none") == 0
    data = replace(fakes.config().dataset, absent=True)
    assert fakes.run_fake(wrong, figures="none", dataset=data) == 0
    pool = pooled([], [str(right), str(wrong)])
    assert (len(pool.right), len(pool.wrong)) == (12, 12)
    with pytest.raises(DataError, match="is no finished run"):
        pooled([], [str(tmp_path)])


def test_cells_join_the_pool_by_what_they_were_asked(config: Config) -> None:
    clean, *_, nonsense = failure_cells(Failures(datasets=["hc18"]), [])
    absent = replace(config, dataset=replace(config.dataset, absent=True))
    cells = [
        Finished(cell, chosen, Path(), [record(0, 0.5, 0.5)], [], lambda: None)  # type: ignore[arg-type, return-value]
        for cell, chosen in ((clean, config), (nonsense, absent))
    ]
    assert [len(each) for each in (pooled(cells, []).right, pooled(cells, []).wrong)] == [1, 1]


def test_folders_of_one_name_keep_their_patients_apart_in_a_pool(config: Config) -> None:
    def cell(root: str, absent: bool = False) -> Finished:
        clean, *_ = failure_cells(Failures(datasets=["hc18"]), [])
        chosen = replace(config, dataset=replace(config.dataset, root=root, absent=absent))
        return Finished(clean, chosen, Path(), [record(0, 0.5, 0.5)], [], lambda: None)  # type: ignore[arg-type, return-value]

    pool = pooled([cell("/a/one/data"), cell("/b/one/data"), cell("/a/one/data", absent=True)], [])
    assert [each.dataset for each in pool.right] == ["hc18 a/one/data", "hc18 b/one/data"]
    assert [each.dataset for each in pool.wrong] == ["hc18 a/one/data"]
    assert len(set(subjects_in_pool(pool.right) or ())) == 2
    alone = pooled([cell("/a/one/data"), cell("/a/one/data", absent=True)], [])
    assert {each.dataset for each in (*alone.right, *alone.wrong)} == {"hc18"}
