"""A score that another package adds is in records, tables, summary, page and tracking, and never loses a case."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest
from rich.console import Console

from salip_exp._reports.listeners import show
from salip_exp._reports.run_page import write_page
from salip_exp._runs.folder import State, read_run
from salip_exp._runs.records import read_record, record_path
from salip_exp._tracking.runs import groups, headline
from salip_exp.errors import EnvironmentFault
from salip_exp.evaluation.scores import Score

IDS = ["a", "b", "c"]


def share(case, prediction, config) -> float:
    return prediction.mask.mean()


COVERED = Score("covered", "Covered", "share of the image that is predicted", share, digits=2, higher_is_better=False)


def run_of(fakes, folder, **changes) -> None:
    cases = [fakes.make_case(2 * i, name) for i, name in enumerate(IDS)]
    assert fakes.run_fake(folder, cases, figures="none", **changes) == 0


def summary(folder) -> dict:
    return json.loads((folder / "summary.json").read_text())


def reused(folder) -> int:
    return json.loads((folder / "manifest.json").read_text())["resumed"]["reused"]


def terminal(folder) -> str:
    stream = io.StringIO()
    show(folder, "outputs", [], Console(file=stream, width=160))
    return stream.getvalue()


@pytest.fixture
def folder(fakes, tmp_path, install_score):
    """A run with a score of another package."""
    install_score(COVERED)
    run_of(fakes, tmp_path / "run")
    return tmp_path / "run"


def test_it_is_in_every_file_of_a_run(folder):
    values = [read_record(record_path(folder, name)).scores["covered"] for name in IDS]
    assert all(value > 0 for value in values)
    with (folder / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["covered"]) for row in rows] == values
    assert list(rows[0])[13:15] == ["hc_error_mm", "covered"]
    assert pd.read_parquet(folder / "cases.parquet")["covered"].tolist() == values
    found = summary(folder)
    assert found["overall"]["covered"]["mean"] == pytest.approx(sum(values) / 3)
    assert found["groups"]["group 0"]["covered"]["n"] == 3
    assert found["definitions"]["covered"] == COVERED.definition
    assert list(found["overall"])[7:10] == ["hc_abs_error", "covered", "volumes"]


def test_it_is_on_terminal_page_and_tracked(folder):
    mean = summary(folder)["overall"]["covered"]["mean"]
    assert "Covered (n)" in terminal(folder) and f"{mean:.2f} (3)" in terminal(folder)
    page = (folder / "report.html").read_text()
    assert '<th scope="col">Covered (n)</th>' in page and f">{mean:.2f} (3)<" in page
    assert "share of the image that is predicted; lower is better" in page
    assert '"title":"Covered"' in page
    assert headline(summary(folder))["covered/all"] == mean
    assert ["all", "covered", 3, mean] in [row[:4] for row in groups(summary(folder)).rows]


def test_a_score_that_fails_is_missing_with_a_note_and_the_case_is_there(fakes, tmp_path, install_score):
    def broken(case, prediction, config):
        if case.case_id == "b":
            raise ZeroDivisionError("division by zero")
        return 1.0

    install_score(Score("covered", "Covered", "fails for b", broken))
    run_of(fakes, tmp_path / "run")
    record = read_record(record_path(tmp_path / "run", "b"))
    assert record.status == "ok" and record.dsc is not None and record.scores["covered"] is None
    assert record.notes == ["score covered is missing: ZeroDivisionError: division by zero"]
    part = summary(tmp_path / "run")["overall"]
    assert (part["covered"]["n"], part["covered"]["missing"], part["dsc"]["n"]) == (2, 1, 3)


def test_a_score_that_writes_into_the_prediction_changes_no_other_figure(fakes, tmp_path, install_score):
    def careless(case, prediction, config):
        prediction.mask[:] = True
        return 1.0

    run_of(fakes, tmp_path / "plain")
    install_score(Score("covered", "Covered", "spoils the mask", careless))
    run_of(fakes, tmp_path / "run")
    for name in IDS:
        plain, record = (read_record(record_path(tmp_path / place, name)) for place in ("plain", "run"))
        assert record.scores == plain.scores | {"covered": None}
        assert record.notes == ["score covered is missing: ValueError: assignment destination is read-only"]
        assert (record.overlap, record.failure, record.png_sha256) == (plain.overlap, plain.failure, plain.png_sha256)


def test_a_run_resumed_after_a_score_was_installed_or_updated_measures_its_cases_again(fakes, tmp_path, install_score):
    folder = tmp_path / "run"
    run_of(fakes, folder)
    plain = (folder / "summary.json").read_bytes()
    run_of(fakes, folder, resume=True)
    assert reused(folder) == 3
    install_score(COVERED)
    run_of(fakes, folder, resume=True)
    assert reused(folder) == 0 and summary(folder)["overall"]["covered"]["n"] == 3
    run_of(fakes, folder, resume=True)
    assert reused(folder) == 3
    install_score(COVERED, version="1.1")
    run_of(fakes, folder, resume=True)
    assert reused(folder) == 0
    rest = summary(folder)
    for part in (rest["overall"], *rest["groups"].values(), rest["definitions"]):
        del part["covered"]
    assert rest == json.loads(plain)


def test_a_run_made_before_the_score_was_known_shows_it_as_missing(fakes, tmp_path, install_score):
    run_of(fakes, tmp_path / "run")
    install_score(COVERED)
    assert read_run(tmp_path / "run").label is State.finished
    write_page(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert '<th scope="col">Covered (n)</th>' in page and '<td class="nowrap">missing</td>' in page
    assert "Covered (n)" in terminal(tmp_path / "run") and "missing" in terminal(tmp_path / "run")


def test_a_run_whose_score_is_not_installed_any_more_is_read(folder, monkeypatch):
    monkeypatch.setattr("salip_exp.plugins.installed", lambda kind: {})
    run = read_run(folder)
    assert run.label is State.finished and len(run.records) == 3
    write_page(folder)
    assert "Covered" not in terminal(folder)


def test_a_wrong_score_is_refused_before_anything_is_loaded(fakes, tmp_path, install_score):
    def never(config, stages):
        raise AssertionError("loaded")

    install_score(share, "covered")
    with pytest.raises(EnvironmentFault, match="is no Score of that name"):
        fakes.run(fakes.config(), tmp_path / "run", [], never)
