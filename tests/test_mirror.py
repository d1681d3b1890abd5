"""Tests lie as the package does: in its folders, in files of its modules' names, or named here as a behaviour."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "src" / "salip_exp"
# About more than the package: pages in a browser, documents, faults, tools, and what others add or have written.
BESIDE = {"benchmarks", "browser", "docs", "faults", "of_0_1_0", "outside", "tools"}
# About what several modules do together, or about a promise that no single one keeps.
BEHAVIOURS = {
    "cache/keys", "cache/memory", "cache/processes", "cache/tidy", "cascade/selection", "data/said", "engines/runs",
    "engines/studies",
    "evaluation/circumference", "evaluation/comparison", "evaluation/public_metrics", "experiments/experiment",
    "floors", "methods/against_public_packages", "methods/methods", "methods/oracle", "methods/stages", "mirror",
    "networks/arithmetic", "networks/embedded/files", "networks/families", "packaging",
    "runs/of_0_1_0", "runs/outside_score",
    "settings/conf", "tracking/faults", "tracking/settings", "tracking/typed", "training/checkpoint",
    "tuning/failures", "tuning/naive", "tuning/paper", "tuning/resuming",
}  # fmt: skip


def plain(path: Path) -> str:
    """A module's or folder's path without the underscores that make it private."""
    return "/".join(part.removeprefix("_") for part in path.with_suffix("").parts)


def mirroring() -> set[Path]:
    """Every test file that is to mirror the package, from the folder of tests."""
    found = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    return {path for path in found if path.parts[0] not in BESIDE}


def test_every_folder_of_tests_is_one_of_the_package() -> None:
    folders = {plain(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*") if path.is_dir()} | {""}
    assert {path.parent.as_posix().strip(".") for path in mirroring()} <= folders


def test_every_file_of_tests_is_called_after_a_module_or_is_a_behaviour() -> None:
    modules = {plain(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    names = {(path.parent / path.stem.removeprefix("test_")).as_posix() for path in mirroring()}
    assert names - modules == BEHAVIOURS
