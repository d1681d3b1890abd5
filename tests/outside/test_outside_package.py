"""Another package of one file and one YAML adds a data set, a method and a view: runs, tables and pages know them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PACKAGE = Path(__file__).parent / "package"
QUICK = ("dataset=arrays", "dataset.root=data", "sam.points_per_side=6", "progress=false", "device=cpu", "threads=1")
COMMANDS = {
    "smallest": (*QUICK, "method=smallest"),
    "upside_down": (*QUICK, "view.kind=upside_down", "score.resamples=100"),
    "crop": (*QUICK, "view.kind=crop", "score.resamples=100"),
    "check": (*QUICK, "method=smallest", "task=check", "check.json=true"),
    "report": ("task=report",),
    "method=smalest": ("method=smalest",),
    "view.kind=x": (*QUICK, "view.kind=x"),
    "dataset=array": ("dataset=array",),
    "tune": (*QUICK, "method=smallest", "task=tune"),
}
DRIVER = """
import contextlib, io, json, sys, warnings
from salip_exp import cli
warnings.simplefilter("ignore")
ended = {}
for name, arguments in json.load(sys.stdin).items():
    sys.argv = ["salip-exp", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.command()
    ended[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two discs, the second of which has a smaller spot beside it."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "data").mkdir()
    y, x = np.mgrid[:64, :64]
    for number, radius in enumerate((14, 17)):
        disc = (x - 32) ** 2 + (y - 30 - 4 * number) ** 2 < radius**2
        noise = np.random.default_rng(number).integers(0, 20, disc.shape)
        np.save(folder / "data" / f"d{number}.npy", (np.where(disc, 200, 30) + noise).astype(np.uint8))
        np.save(folder / "data" / f"d{number}.mask.npy", disc)
    return folder


@pytest.fixture(scope="module")
def ended(home: Path) -> dict[str, Any]:
    """Every command typed in one process that has the package installed: its code and what it said."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", "SALIP_CACHE": str(home / "cache")}
    told = json.dumps(COMMANDS)
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER], input=told, cwd=home, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def folder_of(home: Path, name: str) -> Path:
    (folder,) = (home / "outputs" / "arrays").glob(f"*{name}*/*")
    return folder


def rows(home: Path, name: str) -> list[dict[str, str]]:
    with (folder_of(home, name) / "cases.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_method_runs_over_the_data_set_of_the_package(home: Path, ended: dict[str, Any]) -> None:
    assert ended["smallest"]["code"] == 0, ended["smallest"]["err"]
    assert "smallest on arrays (disc), sam=tiny\n" in ended["smallest"]["out"]  # and no word of a CLIP
    assert [(row["case_id"], row["group"], row["method"]) for row in rows(home, "smallest")] == [
        ("d0", "discs", "smallest"),
        ("d1", "discs", "smallest"),
    ]
    counters = json.loads((folder_of(home, "smallest") / "manifest.json").read_text())["counters"]
    assert counters["encoder_calls"] == 2
    assert counters["clip_images"] == counters["clip_text_forwards"] == 0


def test_what_its_rule_lost_is_not_blamed_on_clip(home: Path, ended: dict[str, Any]) -> None:
    failures = {row["failure"] for row in rows(home, "smallest")}
    assert "choice" in failures
    assert failures <= {"none", "choice"}
    assert "choice 1" in ended["smallest"]["out"]
    page = (folder_of(home, "smallest") / "report.html").read_text()
    assert "choice" in page
    assert "smallest" in page


def test_the_view_is_what_clip_is_shown(home: Path, ended: dict[str, Any]) -> None:
    assert ended["upside_down"]["code"] == 0, ended["upside_down"]["err"]
    turned, plain = (rows(home, name) for name in ("upside_down", "kind-crop"))
    assert [row["scores"] for row in turned] != [row["scores"] for row in plain]
    counters = json.loads((folder_of(home, "kind-crop") / "manifest.json").read_text())["counters"]
    assert counters["clip_images"] > 0  # another view shares no cached embedding with it
    assert (folder_of(home, "upside_down") / "figures" / "strip_d0.png").exists()


def test_the_dashboard_compares_its_runs(home: Path, ended: dict[str, Any]) -> None:
    assert ended["report"]["code"] == 0, ended["report"]["err"]
    pages = "".join(page.read_text() for page in (home / "outputs").glob("*.html"))
    assert "smallest" in pages
    assert "upside_down" in pages


def test_the_check_asks_for_no_weights_and_no_text_of_clip(ended: dict[str, Any]) -> None:
    assert ended["check"]["code"] == 0, ended["check"]["out"]
    found = json.loads(ended["check"]["out"])["findings"]
    assert [each["said"].partition(":")[0] for each in found if each["area"] == "weights"] == ["sam=tiny"]
    assert not [each for each in found if each["area"] == "text"]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("method=smalest", "method takes one of salip, sam_clip, gt_sam, unprompted_sam, oracle, unet, smallest"),
        ("view.kind=x", "view.kind takes one of crop, crop_expand, box, contour, reverse_blur, upside_down"),
        ("dataset=array", "the nearest is dataset=arrays"),
        ("tune", "method=smallest has none of the settings that are searched"),
    ],
)
def test_a_wrong_name_is_told_what_is_installed(ended: dict[str, Any], command: str, sentence: str) -> None:
    assert ended[command]["code"] == 2
    assert sentence in ended[command]["err"]
    assert ended[command]["err"].count("\n") == 1
