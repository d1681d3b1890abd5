"""The README's commands are valid as written, and what it points to is there."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from salip_exp.settings.compose import compose
from salip_exp.settings.validate import typed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
RUNS = [line for line in LINES if line.startswith("python -m salip_exp ")]


def test_the_readme_has_commands() -> None:
    assert len(RUNS) >= 8


@pytest.mark.parametrize("line", RUNS)
def test_a_run_of_the_readme_composes(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SALIP_DATA", str(tmp_path))
    overrides = shlex.split(line, comments=True)[3:]
    choices = [[each] for each in overrides]
    if "-m" in overrides:  # one run per value
        choices = [_values(each) for each in overrides if each != "-m"]
    for run in itertools.product(*choices):
        typed(compose(run))


def _values(override: str) -> list[str]:
    key, _, values = override.partition("=")
    return [f"{key}={value}" for value in values.split(",")]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_a_target_of_the_readme_exists(line: str) -> None:
    target = shlex.split(line, comments=True)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_links_and_pictures_of_the_readme_exist() -> None:
    targets = [each for each in re.findall(r"\]\(([^)]+)\)", README) if not each.startswith("http")]
    assert targets
    assert [each for each in targets if not (ROOT / each).exists()] == []
