"""What a run tells of itself: names, figures, tables."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from salip_exp._runs.records import read_record
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp._tracking.events import Log, Summary, Table
from salip_exp._tracking.runs import RunTracker, beginning, cases, groups, headline
from salip_exp._tracking.tracker import run_id, started, tags, without_passwords
from salip_exp.config import TrackerConfig, TuningConfig


@pytest.fixture(scope="module")
def folder(fakes, tmp_path_factory):
    """A finished run that nobody listened to."""
    place = tmp_path_factory.mktemp("runs") / "run"
    assert fakes.run_fake(place) == 0
    return place


@pytest.fixture(scope="module")
def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_run_is_grouped_by_data_set_and_study_and_named_by_its_folder(fakes, tmp_path):
    place = tmp_path / "no_filter" / "2026-01-01"
    start = started(fakes.config(tracker=TrackerConfig(study="table6")), place, "salip", {})
    assert (start.group, start.job_type, start.name) == ("fake/table6", "salip", "no_filter/2026-01-01")
    assert started(fakes.config(), place, "salip", {}).group == "fake"


def test_a_run_is_named_as_its_page_with_its_date_and_tagged_by_the_words(tmp_path):
    config = typed(compose(["+ablation=no_filter", "seed=7"]))
    start = started(config, tmp_path, "salip", {"started": "2026-01-02T03:04:05+00:00"})
    assert start.name == "no filter, seed 7 · 2026-01-02 03:04"
    assert {"no filter", "seed 7"} <= set(start.tags)


def test_a_folder_keeps_the_id_of_its_run(tmp_path):
    first = run_id(tmp_path / "a")
    assert first == run_id(tmp_path / "a") != run_id(tmp_path / "b")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m salip_exp", []),
        ("python -m salip_exp +ablation=no_filter seed=2", ["no_filter"]),
        ("python -m salip_exp '+ablation=[no_filter,vit_b]'", ["no_filter", "vit_b"]),
    ],
)
def test_tags_are_preset_networks_and_typed_ablations(fakes, command, expected):
    assert tags(fakes.config(preset="paper"), {"command": command}) == ("paper", "sam tiny", "clip tiny", *expected)


def test_the_configuration_travels_whole_with_commit_and_facts_and_without_passwords(fakes, tmp_path):
    url = "postgresql+psycopg2://me:hunter2@host/db"
    config = fakes.config(tuning=TuningConfig(storage=url))
    manifest = {"command": f"x tuning.storage={url}", "commit": {"id": "abc", "changed": False}, "data": {"n_used": 3}}
    told = started(config, tmp_path, "salip", manifest).config
    assert told["commit"] == "abc"
    assert told["sam"]["name"] == "tiny" and told["score"]["resamples"] == 200
    assert told["manifest"]["data"] == {"n_used": 3}
    assert told["tuning"]["storage"] == "postgresql+psycopg2://me:***@host/db"
    assert "hunter2" not in json.dumps(told)


def test_what_is_no_password_stays():
    plain = {"root": "/data/a:b@c", "url": "https://host:80/x", "n": 3, "list": ["a", None, True]}
    assert without_passwords(plain) == plain


def test_every_group_has_its_means_under_the_same_names(summary):
    values = headline(summary)
    for group, part in {**summary["groups"], "all": summary["overall"]}.items():
        assert values[f"dsc/{group}"] == part["dsc"]["mean"]
        assert values[f"miou/{group}"] == part["iou"]["mean"]
        assert values[f"n/{group}"] == part["dsc"]["n"]
    assert values["status/ok"] == 12
    assert values["failure/sam"] == summary["overall"]["failures"]["sam"] == 12
    assert values["lost/sam"] == pytest.approx(1 - summary["overall"]["dsc"]["mean"])
    assert values["notes"].startswith("embedded weights")


def test_a_figure_that_was_not_computed_is_not_there(summary):
    without = json.loads(json.dumps(summary))
    without["groups"]["group 0"]["dsc"] |= {"mean": None, "n": 0}
    values = headline(without)
    assert "dsc/group 0" not in values
    assert values["n/group 0"] == 0


def test_running_means_leave_out_cases_without_a_score(listener, folder):
    scored = read_record(next((folder / "cases").glob("*.json")))
    failed = replace(scored, status="failed(E_READ)", scores={}, seconds={})
    tracker, run = RunTracker(listener), SimpleNamespace(records=[])
    for record in (replace(scored, scores={"dsc": 0.2}), failed, replace(scored, scores={"dsc": 0.4})):
        run.records.append(record)
        tracker.case(run)
    first, second, third = (event.values for event in listener.events)
    assert (first["case/number"], first["case/dsc"], first["running/dsc"]) == (1, 0.2, 0.2)
    assert second == {"case/number": 2, "running/failed": 1}
    assert third["running/dsc"] == pytest.approx(0.3)
    assert third["running/failed"] == 1


def test_tables_hold_every_group_and_every_case(folder, summary):
    rows = groups(summary).rows
    assert {row[0] for row in rows} == {"group 0", "group 1", "all"}
    part = summary["groups"]["group 0"]["dsc"]
    assert ["group 0", "dsc", 6, part["mean"], part["sd"], part["low"], part["high"]] in rows
    table = cases(folder, {f"case_{i:02d}": -i for i in range(12)})
    assert len(table.rows) == 12
    assert [row[table.columns.index("case_id")] for row in table.rows[:2]] == ["case_11", "case_10"], (
        "in the order given"
    )
    row = dict(zip(table.columns, table.rows[-1], strict=True))
    assert row["case_id"] == "case_00"
    assert row["volume"] is None
    assert json.loads(row["boxes"]) == [[4.0, 4.0, 26.0, 26.0]]


def test_a_run_that_tuned_first_tells_of_its_trials(fakes, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    (study / "trials.csv").write_text("trial,state,value,reason\n0,complete,0.5,\n1,failed,,E\n2,complete,0.4,\n")
    part = {"trial": 0, "tuning_images": {"mean": 0.5}, "held_out": {"mean": None}}
    best = {"trial": 0, "value": 0.5, "values": {"area.threshold": 0.3}}
    (study / "study.json").write_text(json.dumps({"best": best, "default": part, "winner": part}))
    _, *events = beginning(SimpleNamespace(config=fakes.config(), folder=tmp_path, manifest={}))
    logs = [event.values for event in events if isinstance(event, Log)]
    assert logs == [
        {"tuning/number": 0, "tuning/value": 0.5, "tuning/best": 0.5},
        {"tuning/number": 1},
        {"tuning/number": 2, "tuning/value": 0.4, "tuning/best": 0.5},
    ]
    table = next(event for event in events if isinstance(event, Table))
    assert (table.name, len(table.rows)) == ("trials", 3)
    summary = next(event for event in events if isinstance(event, Summary)).values
    assert summary["tuned/area.threshold"] == 0.3
    assert "tuned/dsc winner held_out" not in summary
