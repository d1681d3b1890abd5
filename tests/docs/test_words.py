"""What the text of the documents names is there: keys and options, files of the repository, targets of links."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from pkgutil import resolve_name

import pytest

from salip_exp._settings.compose import compose
from salip_exp.cli import quoted
from salip_exp.config import Config
from salip_exp.plugins import KINDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HISTORY = {"CHANGELOG.md"}  # names what is gone
SUFFIXES = {".csv", ".db", ".html", ".js", ".json", ".log", ".md", ".png", ".py", ".yaml"}
FOLDERS = ("conf", "src", "tests", "tools", "docs", "benchmarks", "experiments", ".github", ".ci")


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return FENCED.sub("", page.read_text("utf-8"))


def codes() -> list[str]:
    """Everything that stands in backquotes, each once."""
    pages = [prose(page) for page in PAGES if page.name not in HISTORY]
    return sorted({code for text in pages for code in re.findall(r"`([^`\n]+)`", text)})


def keys(section: object = None, prefix: str = "") -> set[str]:
    """Every key of the configuration, dotted, and the sections themselves."""
    found: set[str] = set()
    for each in fields(section or Config()):  # type: ignore[arg-type]
        value = getattr(section or Config(), each.name)
        found.add(f"{prefix}{each.name}")
        if is_dataclass(value):
            found |= keys(value, f"{prefix}{each.name}.")
    return found


def named(pattern: str) -> list[str]:
    """What stands in backquotes and is wholly of a form."""
    return [code for code in codes() if re.fullmatch(pattern, code)]


KNOWN = keys()
DOTTED = [code for code in named(r"[a-z_0-9]+(\.[a-z_0-9]+)+") if Path(code).suffix not in SUFFIXES]


@pytest.mark.parametrize("code", [each for each in DOTTED if each.partition(".")[0] in KNOWN])
def test_a_key_that_is_named_exists(code: str) -> None:
    assert code in KNOWN


@pytest.mark.parametrize("code", [each for each in named(r"\+?[a-z_0-9.]+=[^\s<>]+") if "..." not in each])
def test_an_override_that_is_named_can_be_composed(code: str) -> None:
    compose([quoted(re.sub(r"\bN\b", "3", code))])


@pytest.mark.parametrize("code", named(rf"({'|'.join(map(re.escape, FOLDERS))})/[^<>]*"))
def test_a_file_that_is_named_exists(code: str) -> None:
    assert list(ROOT.glob(code.rstrip("/")))


DESCRIBED = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)]
SPOKEN = [each for each in named(r"salip_exp(\.\w+)+") if each.split(".")[1] not in KINDS]


@pytest.mark.parametrize("code", [*DESCRIBED, *SPOKEN])
def test_a_module_or_name_that_is_named_exists(code: str) -> None:
    resolve_name(code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_pictures_are_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", prose(page))
    assert [each for each in targets if "://" not in each and not (page.parent / each).exists()] == []
