"""The report shows every run for what it is, in pages that need nothing else and let nothing through."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from salip_exp._commands import report
from salip_exp._runs.folder import State, claim, find_runs, read_pictures, read_run
from salip_exp._runs.records import record_path
from salip_exp.config import ReportConfig, Task
from salip_exp.errors import DataError, TooManyFailures

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def whole(fakes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    cases = [fakes.make_case(i, f"c{i}") for i in range(3)] + [fakes.make_case(5, HOSTILE)]
    fakes.run_fake(folder, cases, figures="all")
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "outputs" / "fake" / "default" / "1")


def set_state(folder, state: str) -> None:
    (folder / "summary.json").unlink()
    (folder / "status.json").write_text(json.dumps({"state": state, "pid": 1, "host": "h", "done": 2}))


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("label", "change"),
    [
        (State.finished, lambda folder: None),
        (State.killed, lambda folder: set_state(folder, "running")),
        (State.interrupted, lambda folder: set_state(folder, "interrupted")),
        (State.failed, lambda folder: set_state(folder, "failed")),
        (State.damaged, lambda folder: cut(folder / "summary.json")),
        (State.damaged, lambda folder: cut(folder / "manifest.json")),
        (State.damaged, lambda folder: (folder / "summary.json").write_text("{}")),
        (State.damaged, lambda folder: (folder / "summary.json").write_text('{"version": 1, "overall": 3}')),
        (State.damaged, lambda folder: cut(record_path(folder, "c1"))),
        (State.damaged, lambda folder: (folder / "summary.json").unlink() or (folder / "status.json").unlink()),
        (State.damaged, lambda folder: (folder / "summary.json").unlink() or cut(folder / "status.json")),
    ],
)
@pytest.mark.fault("S5", "S6")
def test_a_run_is_labelled_as_what_it_is_and_reported_whatever_it_is(fakes, copy, label, change):
    change(copy)
    assert read_run(copy).label is label
    outputs = copy.parents[2]
    assert report.command(fakes.config(task=Task.report, outputs=str(outputs)), Path(), []) == 0
    index = (outputs / "index.html").read_text()
    assert f">{label}</span>" in index and f">{label}</span>" in (copy / "report.html").read_text()
    assert (">missing" in index) is (label is not State.finished)


def test_a_run_whose_process_lives_is_running(copy):
    set_state(copy, "running")
    with claim(copy):
        assert read_run(copy).label is State.running
    assert read_run(copy).label is State.killed


def cards_of(folder: Path) -> list[dict]:
    """What the gallery of a run's page is made of."""
    return json.loads(re.search(r'id="cards-data">(.*?)</script>', (folder / "report.html").read_text())[1])


@pytest.mark.fault("D18", "R10")
def test_pages_are_self_contained_and_escape_what_comes_from_data(fakes, copy):
    outputs = copy.parents[2]
    report.command(fakes.config(outputs=str(outputs)), Path(), [])
    for name in ("index.html", "compare.html", "fake/default/1/report.html"):
        page = (outputs / name).read_text()
        assert HOSTILE not in page and "<script>alert" not in page
        assert not re.search(r"""(src|href)=["'](https?:|//|/)""", page)
        assert not re.search(r"<(script|link)[^>]+(src|href)=[\"'](?!data:)", page)
    assert "data:image/jpeg;base64," in (copy / "report.html").read_text()
    assert any(card["case"] == HOSTILE for card in cards_of(copy))
    assert HOSTILE not in (copy / "cases.js").read_text() and "u003cscript" in (copy / "cases.js").read_text()


def test_the_page_of_a_run_shows_its_table_distribution_pictures_and_command(copy):
    page = (copy / "report.html").read_text()
    summary = json.loads((copy / "summary.json").read_text())
    assert page.count("<circle") == summary["overall"]["dsc"]["n"] == 4
    drawn = read_pictures(copy)
    inline = [each for each in drawn["strips"] if "_" not in each["rule"]]
    assert page.count("<figure ") == len(inline) > 0
    cards = cards_of(copy)
    assert [card["case"] for card in cards] == [each["case_id"] for each in drawn["figures"]] and len(cards) == 4
    assert all(card["src"].startswith("data:") and {*card["outlines"]} == {"target", "prediction"} for card in cards)
    assert all(card["strip"] is not None for card in cards), "each case that is pictured has its strip"
    for part in (summary["overall"], *summary["groups"].values()):
        assert f"{part['dsc']['mean']:.3f}" in page
    assert "python -m salip_exp dataset=fake" in page
    assert "embedded weights: trained on synthetic images only" in page
    assert "points_per_side: 32" in page


def test_links_of_the_index_lead_to_the_pages(fakes, copy):
    outputs = copy.parents[2]
    odd = shutil.copytree(copy, outputs / "fake" / "a b#c" / "2")
    report.command(fakes.config(outputs=str(outputs)), Path(), [])
    links = re.findall(r'href="([^"]+)"', (outputs / "index.html").read_text())
    assert {"fake/a%20b%23c/2/report.html", "fake/default/1/report.html"} <= set(links)
    assert (odd / "report.html").exists() and 'href="../../../index.html"' in (odd / "report.html").read_text()


def test_a_picture_that_is_gone_is_left_out(fakes, copy):
    before = len(cards_of(copy))
    next((copy / "figures").glob("image_*")).unlink()
    assert report.command(fakes.config(outputs=str(copy.parents[2])), Path(), []) == 0
    page = (copy / "report.html").read_text()
    assert len(cards_of(copy)) == before - 1 and "1 picture cannot be read" in page


def test_other_folders_are_no_runs(fakes, copy):
    (copy.parents[2] / "report").mkdir()
    (copy.parents[2] / "report" / "run.log").write_text("")
    assert [run.folder for run in find_runs(copy.parents[2])] == [copy]


@pytest.mark.fault("S5", "S6")
def test_a_folder_of_every_state_is_reported_with_each_as_what_it_is(fakes, copy, capsys):
    outputs = copy.parents[2]
    places = {name: shutil.copytree(copy, outputs / "fake" / name / "1") for name in ("running", "killed", "damaged")}
    set_state(places["running"], "running")
    set_state(places["killed"], "running")
    record_path(places["killed"], "c1").unlink()
    cut(record_path(places["damaged"], "c1"))
    with claim(places["running"]):
        assert report.command(fakes.config(outputs=str(outputs)), Path(), []) == 0
    assert "4 runs (1 running, 1 killed, 1 finished, 1 damaged)" in capsys.readouterr().out
    index = (outputs / "index.html").read_text()
    assert index.count(">missing (3/4)<") == 4, "DSC and mIoU of the killed and the damaged run"
    assert index.count(">missing (4/4)<") == 2, "a run that goes on has no mean yet, though its cases are there"
    for name, place in places.items():
        page = (place / "report.html").read_text()
        assert f'<span class="{name}">{name}</span>' in page and "a part of the cases is not the run" in page


@pytest.mark.fault("S6")
@pytest.mark.parametrize(
    "change",
    [
        lambda folder: cut(record_path(folder, "c1")),
        lambda folder: (folder / "summary.json").write_text('{"version": 99}'),
        lambda folder: set_state(folder, "failed") or cut(record_path(folder, "c1")),
    ],
)
def test_with_strict_what_cannot_be_read_is_exit_5_after_all_pages(fakes, copy, change):
    change(copy)
    outputs = copy.parents[2]
    (copy / "report.html").unlink()
    with pytest.raises(TooManyFailures, match="1 of 1 run cannot be read whole") as fault:
        report.command(fakes.config(outputs=str(outputs), report=ReportConfig(strict=True)), Path(), [])
    assert fault.value.exit_code == 5
    assert (copy / "report.html").exists() and (outputs / "index.html").exists()


def test_with_strict_runs_that_ended_early_are_no_fault(fakes, copy):
    set_state(copy, "interrupted")
    assert report.command(fakes.config(outputs=str(copy.parents[2]), report=ReportConfig(strict=True)), Path(), []) == 0


def test_without_a_run_there_is_nothing_to_report(fakes, tmp_path):
    with pytest.raises(DataError, match="no run lies below"):
        report.command(fakes.config(outputs=str(tmp_path / "absent")), Path(), [])
