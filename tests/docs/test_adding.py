"""What CONTRIBUTING shows of adding a data set, a view, a method and a score is true: each diff applies, and runs."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from salip_exp.plugins import KINDS

pytestmark = pytest.mark.ci

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
ADDED = dict(re.findall(r"^## To add a ([\w ]+)\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE))
QUICK = ("sam=tiny", "clip=tiny", "sam.points_per_side=6", "score.resamples=100", "progress=false", "device=cpu")
PHANTOMS = (*QUICK, "dataset=phantom_hc18", "dataset.phantom.n=2", "figures=none")
COMMANDS = {
    "data set": (*QUICK, "dataset=patients", "dataset.root=data", "hydra.run.dir=data set"),
    "view": (*PHANTOMS, "+ablation=view_dimmed", "hydra.run.dir=view"),
    "method": (*PHANTOMS, "method=largest", "hydra.run.dir=method"),
    "score": (*PHANTOMS, "method=gt_sam", "hydra.run.dir=score"),
}
DRIVER = """
import json, sys, warnings
warnings.simplefilter("ignore")
from salip_exp import cli
codes = {}
for name, arguments in json.loads(sys.argv[1]).items():
    sys.argv = ["salip-exp", *arguments]
    codes[name] = cli.command()
print(json.dumps(codes))
"""


def diff_of(name: str) -> str:
    (diff,) = re.findall(r"^```diff\n(.*?)^```", ADDED[name], re.DOTALL | re.MULTILINE)
    return diff


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its configuration, with every diff applied."""
    tree = tmp_path_factory.mktemp("tree")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "conf"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=unwanted)
    for name in COMMANDS:
        ended = subprocess.run(
            ["git", "apply", "-"], input=diff_of(name), cwd=tree, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"the diff of a {name} does not apply: {ended.stderr}"
    (tree / "src" / "salip_exp" / "conf").symlink_to(tree / "conf")  # where an installed package has it
    return tree


@pytest.fixture(scope="module")
def home(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands were typed, with the changed package in front of the installed one."""
    home = tmp_path_factory.mktemp("home")
    for number in range(2):
        folder = home / "data" / f"p{number}"
        folder.mkdir(parents=True)
        mask = cv2.circle(np.zeros((64, 64), np.uint8), (30 + 4 * number, 32), 16, 255, -1)
        cv2.imwrite(str(folder / "mask.png"), mask)
        cv2.imwrite(str(folder / "image.png"), mask // 2 + 40)
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(COMMANDS)],
        cwd=home, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(ended.stdout.splitlines()[-1]).values()) == {0}, ended.stderr
    return home


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cases.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def overall(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())["overall"]
    return found


def test_what_is_added_keeps_the_rules_of_the_house(tree: Path) -> None:
    for task in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *task, "--no-cache", "--config", ROOT / "ruff.toml", "src", "conf"],
            cwd=tree, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout


def test_the_data_set_is_read(home: Path) -> None:
    assert [(row["case_id"], row["group"]) for row in rows(home / "data set")] == [
        ("p0", "Ultrasound"),
        ("p1", "Ultrasound"),
    ]


def test_the_view_is_what_clip_sees(home: Path) -> None:
    manifest = json.loads((home / "view" / "manifest.json").read_text())
    assert "+ablation=view_dimmed" in manifest["command"]
    assert manifest["counters"]["clip_images"] > 0


def test_the_method_predicts_without_clip(home: Path) -> None:
    assert {row["method"] for row in rows(home / "method")} == {"largest"}
    assert json.loads((home / "method" / "manifest.json").read_text())["counters"]["clip_images"] == 0
    assert "largest" in (home / "method" / "report.html").read_text()


def test_the_score_is_in_every_table(home: Path) -> None:
    assert all(0 < float(row["precision"]) <= 1 for row in rows(home / "score"))
    assert overall(home / "score")["precision"]["n"] == 2
    assert "Precision" in (home / "score" / "report.html").read_text()


def test_entry_points_are_named_as_they_are_looked_for() -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    groups = tomllib.loads(block)["project"]["entry-points"]
    assert set(groups) == {f"salip_exp.{kind}" for kind in KINDS}
