"""What is installed is what is in the repository."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = ConfigParser(comment_prefixes=("#",))
SETTINGS.read(REPOSITORY / "setup.cfg")
CARRIED = (
    "py.typed",
    "paper.yaml",
    "conf/config.yaml",
    "conf/dataset/hc18.yaml",
    "reports/templates/run.html.j2",
    "reports/templates/page.js",
    "networks/embedded/sam_tiny.safetensors",
    "networks/embedded/clip_tiny.safetensors",
    "networks/embedded/SHA256SUMS",
    "networks/embedded/MODEL_CARD.md",
)
"""Of what is no Python file: one of each kind that an installation cannot do without."""


def listed(section: str, key: str) -> list[str]:
    return [line for line in SETTINGS[section][key].splitlines() if line]


def test_every_package_folder_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(REPOSITORY / "src").parts) for path in REPOSITORY.glob("src/**/__init__.py")
    }
    assert set(listed("options", "packages")) == found | {"salip_exp.conf"}


def test_constraints_pin_every_direct_requirement_within_its_range() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    assert not [name for name, version in pinned.items() if "+" in version], "local versions fit one index only"
    extras = [each for name in ("dev", "docs") for each in listed("options.extras_require", name)]
    for each in (*listed("options", "install_requires"), *extras):
        wanted = Requirement(each)
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier, each


def test_a_clone_has_outputs_with_its_page_alone() -> None:
    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        return done.stdout.splitlines()

    paths = ["outputs/README.md", "outputs/index.html", "outputs/hc18/default"]
    assert git("check-ignore", *paths) == paths[1:]
    assert git("ls-files", "outputs") == paths[:1]


def test_make_help_lists_every_target() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    targets = set(re.search(r"\.PHONY: (.*)", text)[1].split())  # type: ignore[index]
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert {"setup", "run", "test", "test-full", "lint", "bench", "report", "clean"} <= targets
    assert set(re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE)) == targets


@pytest.mark.slow
def test_the_wheel_carries_the_package_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "src", "conf"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert inside == {re.sub("^src/", "", re.sub("^conf/", "salip_exp/conf/", name)) for name in tracked}
    assert {f"salip_exp/{name}" for name in CARRIED} <= inside
