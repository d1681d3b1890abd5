"""The page of an experiment: the paper beside ours, and what is missing said to be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from salip_exp._commands import report
from salip_exp._reports.experiment_page import write_experiment
from salip_exp._runs.folder import State, find_runs, find_studies

NOTHING = dict.fromkeys(("paper", "paper_iou", "run", "n", "of", "dsc", "iou", "p"))


@pytest.fixture
def outputs(fakes, tmp_path):
    fakes.run_fake(tmp_path / "cells" / "one", [fakes.make_case(i, f"c{i}") for i in range(3)])
    return tmp_path


def put(outputs, *cells: dict, label: str = "GE 1.5") -> None:
    row = {"label": label, "roi": "brain", "dataset": "cc359", "cells": [NOTHING | each for each in cells]}
    columns = [each["column"] for each in cells]
    table = {"name": "t", "title": "Table 1", "columns": columns, "rows": [row], "notes": [], "reading": "As printed."}
    study = {"version": 1, "kind": "experiment", "name": "table1", "command": "python -m salip_exp +experiment=table1"}
    study |= {"data": "phantoms", "notes": ["phantoms"], "tables": [table], "seconds": 2.0}
    study |= {"figures": [{"name": "fig3", "file": "gone.png", "rule": "median"}], "counters": {}, "environment": {}}
    (outputs / "experiments" / "table1").mkdir(parents=True)
    (outputs / "experiments" / "table1" / "study.json").write_text(json.dumps(study))


def finished(outputs) -> dict:
    part = json.loads((outputs / "cells" / "one" / "summary.json").read_text())["overall"]
    scores = {"n": part["dsc"]["n"], "of": part["cases"], "dsc": part["dsc"], "iou": part["iou"]}
    return {
        "column": "salip",
        "state": "finished",
        "why": "",
        "run": "cells/one",
        "paper": 0.92,
        "p": 0.03125,
        **scores,
    }


def page_of(outputs) -> str:
    write_experiment(outputs / "experiments" / "table1", outputs)
    return (outputs / "experiments" / "table1" / "study.html").read_text()


def test_a_finished_cell_shows_the_paper_and_ours_with_n_and_p_and_leads_to_its_run(outputs):
    cell = finished(outputs)
    put(outputs, cell)
    page = page_of(outputs)
    assert "0.92" in page and f"{cell['dsc']['mean']:.3f} [" in page and "n = 3" in page and "p = 0.031" in page
    assert 'href="../../cells/one/report.html"' in page and "1 of 1 cells are finished" in page


@pytest.mark.fault("S5")
def test_a_missing_cell_says_why_and_shows_no_figure(outputs):
    put(outputs, {"column": "unet", "state": "missing", "why": "no <weights>", "paper": 0.98, "run": "cells/gone"})
    page = page_of(outputs)
    assert "<td>missing" in page and "no &lt;weights&gt;" in page and "0 of 1 cells are finished" in page
    assert "cells/gone" not in page and "0.000" not in page


def test_a_figure_that_is_gone_is_missing(outputs):
    put(outputs, finished(outputs))
    assert "<p>missing</p>" in page_of(outputs)


def test_cells_are_runs_and_an_experiment_is_none(fakes, outputs):
    put(outputs, finished(outputs))
    (outputs / "experiments" / "table1" / "status.json").write_text("{}")
    assert [run.folder for run in find_runs(outputs)] == [outputs / "cells" / "one"]
    assert [(each.kind, each.label) for each in find_studies(outputs)] == [("experiment", State.finished)]
    assert report.command(fakes.config(outputs=str(outputs)), Path(), []) == 0
    index = (outputs / "index.html").read_text()
    assert "1 of 1 finished" in index and 'href="experiments/table1/study.html"' in index


@pytest.mark.parametrize(("content", "label"), [("{}", State.damaged), ("{", State.damaged), (None, State.interrupted)])
def test_a_study_that_is_not_whole_is_listed_as_what_it_is(fakes, outputs, content, label):
    for place, mark in ((outputs / "experiments" / "table1", "run.log"), (outputs / "x" / "tune" / "y", "images.txt")):
        place.mkdir(parents=True)
        (place / mark).write_text("")
        if content is not None:
            (place / "study.json").write_text(content)
    assert [each.label for each in find_studies(outputs)] == [label, label]
    assert report.command(fakes.config(outputs=str(outputs)), Path(), []) == 0
    assert (outputs / "index.html").read_text().count(f'<span class="{label}">') == 2


def test_how_texts_rank_the_same_candidates_stands_below_their_table(outputs):
    put(outputs, finished(outputs))
    place = outputs / "experiments" / "table1" / "study.json"
    study = json.loads(place.read_text())
    share = {"mean": 0.5, "low": 0.2, "high": 0.8, "interval": "cases", "n": 4, "missing": 0, "sd": 0.1}
    ranked = {"label": "CC359", "column": "plain <b>", "beside": "ours", "n": 4, "same": share, "likeness": share}
    study["tables"][0]["rankings"] = [ranked | {"place": 2.5, "changed": [["case_1", 0.9, None]]}]
    place.write_text(json.dumps(study))
    page = page_of(outputs)
    assert "plain &lt;b&gt;" in page and "0.500 [0.200, 0.800]" in page and "place of what ours chose" in page
    assert "case_1" in page and "0.900 → missing" in page


def test_an_experiment_of_figures_alone_counts_figures(outputs):
    put(outputs, finished(outputs))
    path = outputs / "experiments" / "table1" / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tables": []}))
    page = page_of(outputs)
    assert "0 of 1 figures are drawn." in page and "cells are finished" not in page
