"""The report shows every run for what it is, in pages that need nothing else and let nothing through."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from salip_exp.config import Task
from salip_exp.errors import DataError
from salip_exp.reporting.folders import Label, find_runs, read_run
from salip_exp.reporting.report import report
from salip_exp.running.lock import claim
from salip_exp.running.records import record_path

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
        (Label.finished, lambda folder: None),
        (Label.killed, lambda folder: set_state(folder, "running")),
        (Label.interrupted, lambda folder: set_state(folder, "interrupted")),
        (Label.failed, lambda folder: set_state(folder, "failed")),
        (Label.damaged, lambda folder: cut(folder / "summary.json")),
        (Label.damaged, lambda folder: cut(folder / "manifest.json")),
        (Label.damaged, lambda folder: (folder / "summary.json").write_text("{}")),
        (Label.damaged, lambda folder: (folder / "summary.json").write_text('{"version": 1, "overall": 3}')),
        (Label.damaged, lambda folder: cut(record_path(folder, "c1"))),
        (Label.damaged, lambda folder: (folder / "summary.json").unlink() or (folder / "status.json").unlink()),
        (Label.damaged, lambda folder: (folder / "summary.json").unlink() or cut(folder / "status.json")),
    ],
)
def test_a_run_is_labelled_as_what_it_is_and_reported_whatever_it_is(fakes, copy, label, change):
    change(copy)
    assert read_run(copy).label is label
    outputs = copy.parents[2]
    assert report(fakes.config(task=Task.report, outputs=str(outputs))) == 0
    index = (outputs / "index.html").read_text()
    assert f">{label}</span>" in index and f">{label}</span>" in (copy / "report.html").read_text()
    assert ("missing" in index) is (label is not Label.finished)


def test_a_run_whose_process_lives_is_running(copy):
    set_state(copy, "running")
    with claim(copy):
        assert read_run(copy).label is Label.running
    assert read_run(copy).label is Label.killed


def test_pages_are_self_contained_and_escape_what_comes_from_data(fakes, copy):
    outputs = copy.parents[2]
    report(fakes.config(outputs=str(outputs)))
    for page in ((outputs / "index.html").read_text(), (copy / "report.html").read_text()):
        assert "<script" not in page
        assert "data:image/png;base64," in page
        assert not re.search(r"""(src|href)=["'](https?:|//|/)""", page)
        assert "prefers-color-scheme: dark" in page
    assert "&lt;script&gt;alert(1)" in (copy / "report.html").read_text()


def test_the_page_of_a_run_shows_its_table_distribution_pictures_and_command(copy):
    page = (copy / "report.html").read_text()
    summary = json.loads((copy / "summary.json").read_text())
    assert page.count("<circle") == summary["overall"]["dsc"]["n"] == 4
    assert page.count("<figure>") == len(summary["figures"]) == 4
    for part in (summary["overall"], *summary["groups"].values()):
        assert f"{part['dsc']['mean']:.3f}" in page
    assert "python -m salip_exp dataset=fake" in page
    assert "embedded weights: trained on synthetic images only" in page
    assert "points_per_side: 32" in page


def test_links_of_the_index_lead_to_the_pages(fakes, copy):
    outputs = copy.parents[2]
    odd = shutil.copytree(copy, outputs / "fake" / "a b#c" / "2")
    report(fakes.config(outputs=str(outputs)))
    links = re.findall(r'href="([^"]+)"', (outputs / "index.html").read_text())
    assert sorted(links) == ["fake/a%20b%23c/2/report.html", "fake/default/1/report.html"]
    assert (odd / "report.html").exists()


def test_a_picture_that_is_gone_is_left_out(fakes, copy):
    next((copy / "figures").iterdir()).unlink()
    assert report(fakes.config(outputs=str(copy.parents[2]))) == 0
    assert (copy / "report.html").read_text().count("<figure>") == 3


def test_other_folders_are_no_runs(fakes, copy):
    (copy.parents[2] / "report").mkdir()
    (copy.parents[2] / "report" / "run.log").write_text("")
    assert [run.folder for run in find_runs(copy.parents[2])] == [copy]


def test_without_a_run_there_is_nothing_to_report(fakes, tmp_path):
    with pytest.raises(DataError, match="no run lies below"):
        report(fakes.config(outputs=str(tmp_path / "absent")))
