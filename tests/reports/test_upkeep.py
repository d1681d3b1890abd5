"""A report writes the pages whose runs changed, and no other; and what it shows is what a report from nothing shows."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from salip_exp._reports import index_page, run_page, upkeep
from salip_exp._reports.upkeep import Pages
from salip_exp._runs.folder import claim


@pytest.fixture(scope="module")
def whole(fakes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("upkeep") / "run"
    fakes.run_fake(folder, [fakes.make_case(i, f"c{i}") for i in range(3)])
    return folder


@pytest.fixture
def outputs(whole, tmp_path):
    for name in "abc":
        shutil.copytree(whole, tmp_path / "outputs" / "fake" / name / "1")
    Pages(tmp_path / "outputs").refresh()
    return tmp_path / "outputs"


@pytest.fixture
def rendered(monkeypatch) -> list[str]:
    """What is rendered from here on, by the name of the template."""
    seen: list[str] = []
    for module in (run_page, index_page):
        original = module.write_html

        def counted(path, template, original=original, **values):
            seen.append(template.removesuffix(".html.j2"))
            original(path, template, **values)

        monkeypatch.setattr(module, "write_html", counted)
    return seen


def timeless(path: Path) -> str:
    """A page without the time at which it was made."""
    return re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", "", path.read_text())


ALL = ["index", "compare"]


@pytest.mark.fault("B6")
def test_what_has_not_changed_is_not_rendered_again(outputs, rendered, monkeypatch):
    monkeypatch.setattr(upkeep, "read_run", lambda folder: pytest.fail(f"{folder} was read"))
    assert Pages(outputs).refresh() == 0
    assert rendered == []


def add_time(path: Path) -> None:
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "record edited in its place": lambda run: add_time(run / "cases" / "c1.json"),
    "record gone": lambda run: (run / "cases" / "c1.json").unlink(),
    "summary": lambda run: (run / "summary.json").unlink(),
    "status": lambda run: (run / "status.json").write_text("{}"),
    "manifest": lambda run: (run / "manifest.json").write_text("{}"),
    "configuration": lambda run: (run / "config.yaml").write_text("seed: 1"),
    "picture": lambda run: next((run / "figures").iterdir()).write_bytes(b""),
    "page gone": lambda run: (run / "report.html").unlink(),
    "page edited": lambda run: (run / "report.html").write_text("forged"),
    "script gone": lambda run: (run / "cases.js").unlink(),
    "note gone": lambda run: (run / ".pages.json").unlink(),
    "note damaged": lambda run: (run / ".pages.json").write_bytes((run / ".pages.json").read_bytes()[:-5]),
    "note of another run": lambda run: shutil.copy(run.parents[1] / "a" / "1" / ".pages.json", run),
    "note with a row of other types": lambda run: edit_note(run, summary=3),
    "note is a list": lambda run: (run / ".pages.json").write_text("[]"),
    "note with other content": lambda run: edit_note(run, other=3),
}


def edit_note(run: Path, **values: object) -> None:
    note = json.loads((run / ".pages.json").read_text())
    note["content"] |= values
    (run / ".pages.json").write_text(json.dumps(note))


@pytest.mark.fault("B6", "S5")
@pytest.mark.parametrize("name", CHANGES)
def test_a_run_that_changed_is_rendered_again_and_alone(outputs, rendered, name):
    CHANGES[name](outputs / "fake" / "b" / "1")
    assert Pages(outputs).refresh() == 1
    assert rendered.count("run") == 1
    assert rendered[1:] in (ALL, []), "the index too, unless nothing that it shows is another"
    kept = [timeless(page) for page in sorted(outputs.rglob("*.html"))]
    for note in outputs.rglob(".pages.json"):
        note.unlink()
    Pages(outputs).refresh()
    assert kept == [timeless(page) for page in sorted(outputs.rglob("*.html"))]


@pytest.mark.fault("B6")
def test_pages_of_another_version_of_the_program_are_rendered_again(outputs, rendered, monkeypatch):
    monkeypatch.setattr(upkeep, "program", lambda: "another")
    assert Pages(outputs).refresh() == 3
    assert rendered == ["run"] * 3 + ALL


@pytest.mark.fault("B6")
def test_a_run_that_is_gone_leaves_the_index(outputs, rendered):
    shutil.rmtree(outputs / "fake" / "b")
    assert Pages(outputs).refresh() == 0
    assert rendered == ALL
    assert "fake/b/1" not in (outputs / "index.html").read_text()


@pytest.mark.fault("B6")
def test_a_lock_that_is_held_changes_the_page(outputs, rendered):
    run = outputs / "fake" / "b" / "1"
    (run / "summary.json").unlink()
    (run / "status.json").write_text('{"state": "running"}')
    pages = Pages(outputs)
    assert pages.refresh() == 1 and 'class="killed"' in (run / "report.html").read_text()
    with claim(run):
        assert pages.refresh() == 1 and 'class="running"' in (run / "report.html").read_text()


@pytest.mark.fault("B6")
def test_pages_stay_right_where_no_note_can_be_kept(outputs, rendered):
    note = outputs / "fake" / "b" / "1" / ".pages.json"
    note.unlink()
    note.mkdir()
    assert Pages(outputs).refresh() == 1
    assert Pages(outputs).refresh() == 1


@pytest.mark.fault("B6")
def test_a_comparison_is_worked_out_once(outputs, monkeypatch):
    (outputs / "fake" / "b" / "1" / "cases" / "c1.json").unlink()
    asked: list[object] = []
    original = index_page.compare
    monkeypatch.setattr(index_page, "compare", lambda *given, **how: asked.append(given) or original(*given, **how))
    Pages(outputs).refresh()
    assert len(asked) == 2 + 1, "with those that stay, which are of one content, both ways, and with itself"


@pytest.mark.fault("B6")
def test_four_times_the_runs_are_four_times_the_looks(whole, tmp_path, monkeypatch):
    looks: list[object] = []
    original = upkeep._facts
    monkeypatch.setattr(upkeep, "_facts", lambda stat: looks.append(stat) or original(stat))
    counts = []
    for n in (2, 8):
        for i in range(n):
            shutil.copytree(whole, tmp_path / str(n) / "fake" / str(i) / "1")
        Pages(tmp_path / str(n)).refresh()
        looks.clear()
        assert Pages(tmp_path / str(n)).refresh() == 0
        counts.append(len(looks))
    assert counts[1] < 6 * counts[0]
