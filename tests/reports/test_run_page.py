"""The page of a run: its table of cases, and what its configuration changes of the default."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from salip_exp._reports.cases import case_table, write_cases
from salip_exp._reports.overlays import choose
from salip_exp._reports.page import safe_json
from salip_exp._reports.run_page import write_run_page
from salip_exp._runs._manifest import write_config
from salip_exp._runs.folder import State, read_run
from salip_exp._settings.compose import compose
from salip_exp._settings.differences import difference
from salip_exp._settings.validate import typed


@pytest.fixture(scope="module")
def run(fakes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases") / "run"
    fakes.run_fake(folder, [fakes.make_case(i, f"c{i}") for i in range(3)], figures="worst:1")
    return read_run(folder)


def as_rows(table) -> list[dict]:
    return [dict(zip([each["title"] for each in table["columns"]], row, strict=True)) for row in table["rows"]]


def test_a_row_holds_the_scores_of_its_case_and_the_number_of_its_picture(run):
    rows = as_rows(case_table(run.records, {"c1": 7}))
    assert [row["case"] for row in rows] == ["c0", "c1", "c2"]
    assert [row["DSC"] for row in rows] == pytest.approx([each.dsc for each in run.records], abs=1e-5)
    assert [row["picture"] for row in rows] == [None, 7, None]


def test_a_column_without_a_value_is_left_out_but_for_those_that_every_table_has(run):
    bare = [replace(each, scores={}, failure=None) for each in run.records]
    titles = [each["title"] for each in case_table(bare, {})["columns"]]
    assert "DSC" in titles and "lost by" in titles
    assert not {"IoU", "HD95 mm", "NSD", "HC error mm", "why", "picture"} & set(titles)


def test_json_in_a_page_cannot_end_its_script():
    text = str(safe_json({"id": "</script><!-- & '"}))
    assert not set("<>&'") & set(text)
    assert json.loads(text) == {"id": "</script><!-- & '"}


def test_cases_js_is_one_call_with_every_case(run):
    write_cases(run)
    text = (run.folder / "cases.js").read_text()
    content = json.loads(text.removeprefix("salip.cases(").removesuffix(");\n"))
    assert content["dataset"] == "fake" and [each["id"] for each in content["cases"]] == ["c0", "c1", "c2"]
    assert content["told"]["settings"]["dataset.name"] == "fake" and content["told"]["sentences"] == ["a disc"]
    shown = [each for each in content["cases"] if each["files"]]
    assert shown and all((run.folder / file).exists() for each in shown for file in each["files"])


def test_the_page_of_5000_cases_stays_below_15_mb(run, tmp_path):
    records = [replace(run.records[i % 3], case_id=f"CC{i:05d}_siemens_3_55_F/sagittal_{i:03d}") for i in range(5000)]
    many = replace(run, folder=tmp_path, records=tuple(records))
    write_run_page(many)
    assert (tmp_path / "report.html").stat().st_size < 15e6
    assert (tmp_path / "report.html").read_text().count("<tr") < 60, "rows are made when they are shown"


def test_a_run_whose_cases_all_failed_says_so_and_not_that_a_part_is_missing(run):
    failed = tuple(replace(each, status="failed(E_READ)", scores={}, message="cut off") for each in run.records)
    write_run_page(replace(run, label=State.failed, why="all failed", summary={}, records=failed))
    text = (run.folder / "report.html").read_text()
    assert "All 3 cases failed, so there is no mean" in text and "a part of the cases" not in text
    write_run_page(replace(run, label=State.interrupted, summary={}, records=failed[:2]))
    assert "2 cases are on disk of 3" in (run.folder / "report.html").read_text()


def written(folder, *overrides: str):
    write_config(folder, typed(compose(overrides)))
    return folder / "config.yaml"


def test_the_default_differs_in_nothing(tmp_path):
    assert difference(written(tmp_path, "dataset=phantom_hc18", "progress=false", "outputs=elsewhere")) == []


def test_every_key_that_was_changed_is_named_with_both_values(tmp_path):
    config = written(tmp_path, "dataset=phantom_hc18", "+ablation=no_filter", "seed=7", "sam.points_per_side=8")
    assert difference(config) == [
        ("sam.points_per_side", "16", "8"),
        ("area.enabled", "true", "false"),
        ("seed", "1234", "7"),
    ]


@pytest.mark.parametrize("content", ["", "[1, 2]", "dataset: {name: no_such_set}", "dataset: {", "seed: 3"])
def test_a_configuration_that_cannot_be_read_gives_none(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    assert difference(tmp_path / "config.yaml") is None
    assert difference(tmp_path / "absent.yaml") is None


def test_a_folder_of_ones_own_differs_from_the_default_that_has_no_text(tmp_path):
    found = difference(written(tmp_path, "dataset=folder", "dataset.k=2", "vdt.sentences=[a disc]"))
    assert found == [("dataset.k", "1", "2"), ("vdt.sentences", "[]", "[a disc]")]


def test_a_run_without_targets_shows_the_doubtful_first_and_nothing_missing(fakes, tmp_path):
    cases = [replace(fakes.make_case(i, f"c{i}"), mask=None) for i in range(4)]
    fakes.run_fake(tmp_path / "run", cases, figures="worst:2,best:1")
    found = read_run(tmp_path / "run")
    doubts = [0.9, 0.2, None, 0.7]
    told = [{} if each is None else {"stability": each} for each in doubts]
    records = [replace(each, confidence=known) for each, known in zip(found.records, told, strict=True)]
    table = case_table(records, {}, scored=False, doubt="stability")
    assert [row["case"] for row in as_rows(table)] == ["c2", "c1", "c3", "c0"]
    assert not {"DSC", "lost by"} & {each["title"] for each in table["columns"]}
    assert [each.case_id for _, each in choose(records, "worst:2,best:1", 0)] == ["c1", "c3", "c0"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert (
        '"rule":"most in doubt 1"' in page and '"by":"confidence"' in page and "worst_01" not in page.split("<h1>")[1]
    )
    assert '<a href="cases.csv">cases.csv</a>' in page and "volumes.csv" not in page
    assert "No case has a target" in page and ">missing<" not in page
    assert page.index("<h2>Pictures</h2>") < page.index("<h2>Cases</h2>")
    assert "Distribution of DSC" not in page and "DSC missing" not in page
