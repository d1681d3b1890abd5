"""Pages of small runs and studies of every kind and state, and one browser for all tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from salip_exp._commands import report

TESTS = Path(__file__).parents[1]
PAGES = (
    "index.html",
    "compare.html",
    "fake/a/1/report.html",
    "fake/killed/3/report.html",
    "fake/damaged/3/report.html",
    "experiments/table1/study.html",
    "stub/tune/default/study.html",
)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="session")
def stubs(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(TESTS / "tuning" / "stubs.py")


@pytest.fixture(scope="session")
def chromium(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(Path(__file__).with_name("chromium.py"))


@pytest.fixture(scope="session")
def browser(chromium: ModuleType) -> Iterator[Any]:
    if reason := chromium.absent():
        pytest.skip(reason)
    with chromium.chromium() as found:
        yield found


@pytest.fixture(scope="session")
def hostile() -> str:
    """The id of a case that is markup."""
    return HOSTILE


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    """Every page of the study, relative to `outputs`."""
    return str(request.param)


@pytest.fixture(autouse=True)
def as_usual(browser: Any) -> None:
    """Every test begins with a light page on a wide screen."""
    browser.emulate("light")
    browser.resize(1280, 900)


@pytest.fixture(scope="session")
def outputs(fakes: ModuleType, stubs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that share all but one case, two on slices, a killed, a damaged one, an experiment, a tuning study."""
    place = tmp_path_factory.mktemp("dashboard")
    cases = [fakes.make_case(i, f"case_{i:03d}") for i in range(130)]
    with redirect_stdout(StringIO()):
        fakes.run_fake(place / "fake" / "a" / "1", [*cases, fakes.make_case(3, HOSTILE)], figures="worst:2,best:2")
        fakes.run_fake(place / "fake" / "b" / "2", cases[1:], method=shrinking(fakes), figures="worst:2")
        slices = [fakes.make_case(i, f"v{i % 4}/z_{i:03d}", f"v{i % 4}") for i in range(24)]
        for name, method in {"c": None, "d": shrinking(fakes)}.items():
            fakes.run_fake(place / "slices" / name / "1", slices, method=method)
        for name, change in {"killed": killed, "damaged": damaged}.items():
            change(shutil.copytree(place / "fake" / "b" / "2", place / "fake" / name / "3"))
        experiment(place)
        stubs.study(place / "stub" / "tune" / "default", 6, outputs=str(place))
        assert report.command(fakes.config(outputs=str(place)), Path(), []) == 0
    return place


def shrinking(fakes: ModuleType) -> Any:
    """A method whose predictions differ from those of the other run."""

    class Shrinking(fakes.Threshold):
        def predict(self, case: Any) -> Any:
            found = super().predict(case)
            mask = found.mask.copy()
            mask[: 12 + int(case.case_id[-3:]) % 9] = False
            return replace(found, mask=mask)

    return Shrinking()


def killed(folder: Path) -> None:
    (folder / "summary.json").unlink()
    (folder / "status.json").write_text(json.dumps({"state": "running", "pid": 1, "host": "h"}))
    for record in sorted((folder / "cases").iterdir())[:60]:
        record.unlink()


def damaged(folder: Path) -> None:
    record = next((folder / "cases").iterdir())
    record.write_bytes(record.read_bytes()[:40])


def experiment(place: Path) -> None:
    """A study of one table, a finished cell and a missing one, and one figure."""
    folder = place / "experiments" / "table1"
    folder.mkdir(parents=True)
    run = place / "fake" / "a" / "1"
    part = json.loads((run / "summary.json").read_text())["overall"]
    shutil.copy(next((run / "figures").iterdir()), folder / "fig3.png")
    nothing = dict.fromkeys(("run", "n", "of", "dsc", "iou", "p"))
    absent = {"column": "unet", **nothing, "state": "missing", "why": "no weights on this machine"}
    scores = {"n": part["dsc"]["n"], "of": part["cases"], "dsc": part["dsc"], "iou": part["iou"]}
    done = {"column": "salip", **nothing, "run": "fake/a/1", **scores, "state": "finished", "why": ""}
    cells = [{"paper": 0.92, "paper_iou": 0.87, **each} for each in (done, absent)]
    table = {
        "name": "table1",
        "title": "Table 1",
        "columns": ["SaLIP", "U-Net"],
        "rows": [{"label": "GE 1.5", "roi": "brain", "dataset": "cc359", "cells": cells}],
        "notes": ["a note"],
        "reading": "As printed.",
    }
    study = {
        "version": 1,
        "kind": "experiment",
        "name": "table1",
        "command": "python -m salip_exp +experiment=table1",
        "data": "phantoms",
        "notes": ["phantoms"],
        "tables": [table],
        "figures": [{"name": "fig3", "file": "fig3.png", "rule": "the median case"}],
        "counters": {},
        "environment": {},
        "seconds": 1.0,
    }
    (folder / "study.json").write_text(json.dumps(study))
