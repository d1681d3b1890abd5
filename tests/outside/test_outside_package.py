"""Another package of one file and one YAML adds a data set, a method, a view and a score, and everything knows them."""

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

pytestmark = pytest.mark.ci

PACKAGE, SCORE = (Path(__file__).parent / name for name in ("package", "score"))
FAST = ("sam.points_per_side=6", "score.resamples=100", "device=cpu", "threads=1")
QUICK = ("dataset=arrays", "dataset.root=data", "progress=false", *FAST)
COMMANDS = {
    "smallest": (*QUICK, "method=smallest"),
    "install": (str(SCORE),),
    "upside_down": (*QUICK, "view.kind=upside_down"),
    "crop": (*QUICK, "view.kind=crop"),
    "check": (*QUICK, "method=smallest", "task=check", "check.json=true"),
    "report": ("task=report",),
    "method=smalest": ("method=smalest",),
    "view.kind=x": (*QUICK, "view.kind=x"),
    "dataset=array": ("dataset=array",),
    "tune": (*QUICK, "method=smallest", "task=tune"),
    "cell": ("dataset.phantom.n=1", "figures=none", *FAST),
}
DRIVER = """
import contextlib, io, json, sys, warnings
from pathlib import Path
from salip_exp import cli, plugins
from salip_exp._experiments.cell_runs import CellRunner
from salip_exp._experiments.cells import Cell
from salip_exp._experiments.counting import naive
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed

def install(folder):
    sys.path.append(folder)
    plugins._all.cache_clear()
    plugins.installed.cache_clear()
    return 0

def cell(*told):
    runner = CellRunner(typed(compose(["+experiment=table1", "progress=false"])), told)
    found = [runner.outcome(Cell("hc18", "smallest", ("method=smallest",))) for _ in "twice"]
    (record,) = found[0].records
    again = found[0].folder == found[1].folder
    print(json.dumps({"naive": naive(found[0]), "failure": record.failure, "scores": record.scores, "again": again}))
    return 0

def command(*arguments):
    sys.argv = ["salip-exp", *arguments]
    return cli.command()

warnings.simplefilter("ignore")
ended = {}
for name, arguments in json.load(sys.stdin).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = {"install": install, "cell": cell}.get(name, command)(*arguments)
    ended[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
print(json.dumps(ended))
"""
"""Types each command, in one process that has the package installed; its score comes after the first run."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two discs."""
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
    """Every command by its name: its code and what it said."""
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


def work(home: Path, name: str) -> dict[str, int]:
    counters: dict[str, int] = json.loads((folder_of(home, name) / "manifest.json").read_text())["counters"]
    return counters


def test_the_method_runs_over_the_data_set(home: Path, ended: dict[str, Any]) -> None:
    assert ended["smallest"]["code"] == 0, ended["smallest"]["err"]
    weights = "sam=tiny: sam_tiny.safetensors 804386"  # and no word of a CLIP
    title = f"smallest on arrays (disc), {weights}, scored at working size\n"
    assert title in ended["smallest"]["out"]
    found = [(row["case_id"], row["group"], row["method"]) for row in rows(home, "smallest")]
    assert found == [("d0", "discs", "smallest"), ("d1", "discs", "smallest")]
    assert work(home, "smallest")["encoder_calls"] == 2
    assert work(home, "smallest")["clip_images"] == work(home, "smallest")["clip_text_forwards"] == 0


def test_what_its_rule_lost_is_not_blamed_on_clip(home: Path, ended: dict[str, Any]) -> None:
    assert {row["failure"] for row in rows(home, "smallest")} == {"none", "choice"}
    assert "choice 1" in ended["smallest"]["out"]
    assert "choice" in (folder_of(home, "smallest") / "report.html").read_text()


def test_the_view_is_what_clip_is_shown(home: Path, ended: dict[str, Any]) -> None:
    assert ended["upside_down"]["code"] == 0, ended["upside_down"]["err"]
    turned, plain = (rows(home, name) for name in ("upside_down", "kind-crop"))
    assert [row["scores"] for row in turned] != [row["scores"] for row in plain]
    assert work(home, "kind-crop")["clip_images"] > 0  # what is kept of one view is not taken for another
    assert (folder_of(home, "upside_down") / "figures" / "strip_d0.png").exists()


def test_the_score_stands_in_table_and_page_and_runs_from_before_are_read(home: Path, ended: dict[str, Any]) -> None:
    assert all(0 < float(row["covered"]) < 0.5 for row in rows(home, "upside_down"))
    assert "Covered (n)" in ended["upside_down"]["out"]
    assert "Covered" in (folder_of(home, "upside_down") / "report.html").read_text()
    assert "covered" not in rows(home, "smallest")[0]
    assert "3 runs (3 finished)" in ended["report"]["out"]
    assert ended["report"]["code"] == 0, ended["report"]["err"]


def test_the_dashboard_compares_its_runs(home: Path, ended: dict[str, Any]) -> None:
    index = (home / "outputs" / "index.html").read_text()
    for name in ("smallest", "upside_down", "kind-crop"):
        assert folder_of(home, name).relative_to(home / "outputs").as_posix() in index
        assert '"d1"' in (folder_of(home, name) / "cases.js").read_text()  # what the comparison reads
    assert (home / "outputs" / "compare.html").exists()


def test_a_cell_of_an_experiment_is_run_once_and_counted(ended: dict[str, Any]) -> None:
    found = json.loads(ended["cell"]["out"].splitlines()[-1])
    assert found["naive"] == {"encoder_calls": 1, "decoded_points": 36, "clip_images": 0}
    assert found["failure"] in ("none", "sam", "choice")
    assert found["again"]


def test_the_check_asks_for_no_weights_and_no_text_of_clip(ended: dict[str, Any]) -> None:
    assert ended["check"]["code"] == 0, ended["check"]["out"]
    found = json.loads(ended["check"]["out"])["findings"]
    assert [each["said"].partition(":")[0] for each in found if each["area"] == "weights"] == ["sam=tiny"]
    assert not [each for each in found if each["area"] == "text"]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "method=smalest",
            "method takes one of salip, sam_clip, gt_sam, unprompted_sam, oracle, saliency, lsg_sam, "
            "lsg_sam_reference, clipseg, grounded_sam, sam3_text, unet, smallest",
        ),
        ("view.kind=x", "view.kind takes one of crop, crop_expand, box, contour, reverse_blur, upside_down"),
        ("dataset=array", "the nearest is dataset=arrays"),
        ("tune", "method=smallest has none of the settings that are searched"),
    ],
)
def test_a_wrong_name_is_told_what_is_installed(ended: dict[str, Any], command: str, sentence: str) -> None:
    assert ended[command]["code"] == 2
    assert sentence in ended[command]["err"]
    assert ended[command]["err"].count("\n") == 1
