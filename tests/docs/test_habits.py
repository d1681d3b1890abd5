"""What stands in two places is the same in both: versions of Python and of the package, tools, the fault matrix."""

from __future__ import annotations

import ast
import re
from configparser import ConfigParser
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from salip_exp.evaluation.attribution import Failure
from salip_exp.methods.base import Status

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_workflow_tries_every_python_of_the_package(setup: ConfigParser) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    tried = workflow["jobs"]["ci"]["strategy"]["matrix"]["python"]
    assert tried == re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])


def test_the_changelog_begins_with_the_version_of_the_package(setup: ConfigParser) -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == setup["metadata"]["version"]


def test_hooks_of_the_project_are_tools_that_it_installs(setup: ConfigParser) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0] for hook in hooks if hook["language"] == "system"}
    extras = re.findall(r"^[\w-]+", setup["options.extras_require"]["dev"], re.MULTILINE)
    assert tools == {".venv/bin/ruff", ".venv/bin/mypy"}
    assert {tool.rpartition("/")[2] for tool in tools} <= set(extras)


def test_the_guide_to_the_numbers_explains_every_failure_and_status() -> None:
    explained = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "numbers.md").read_text("utf-8")))
    assert {str(each) for each in (*Failure, *Status)} <= explained


def test_the_page_of_the_architecture_has_every_part_of_the_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    floors = page.partition("## Floors")[2].partition("## Who")[0]
    parts = {path.stem for path in (ROOT / "src" / "salip_exp").iterdir() if path.suffix in ("", ".py")}
    assert set(re.findall(r"`(\w+)`", floors)) == {part for part in parts if not part.startswith("__")}


def test_the_page_of_faults_has_every_row_of_the_matrix() -> None:
    rows: dict[str, str] = {}
    exec((ROOT / "tests" / "faults" / "rows.py").read_text(), rows)
    page = (ROOT / "docs" / "faults.md").read_text("utf-8")
    assert [tuple(row) for row in re.findall(r"^\| (\w\d+) \| (.*) \|$", page, re.MULTILINE)] == list(
        rows["ROWS"].items()  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("script", sorted((ROOT / "tools" / "docs").glob("*.py")), ids=lambda path: path.name)
def test_what_makes_the_pictures_asks_for_what_the_package_has(script: Path) -> None:
    imports = [each for each in ast.walk(ast.parse(script.read_text("utf-8"))) if isinstance(each, ast.ImportFrom)]
    for each in imports:
        if each.module is not None and each.module.startswith("salip_exp"):
            for name in each.names:
                resolve_name(f"{each.module}.{name.name}")
