"""The floors of the package: every import points down, no folder and no module stands in a circle.

A module's floor is that of its folder. It may import its own folder and any floor above it in FLOORS (the ground comes
first); folders in one line may not import each other. Imports count wherever they stand: at the top, inside functions,
under TYPE_CHECKING. Inside a function only those of INSIDE are let through, each for a reason.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[1] / "src" / "salip_exp"

FLOORS = (
    "salip_exp",
    "errors _secrets",
    "config _files _timing _console _wording _environment plugins",
    "cache data _engines _serving",
    "networks",
    "_paper",
    "cascade",
    "methods",
    "evaluation",
    "_settings",
    "_runs",
    "_training",
    "_tuning",
    "_execute _crew api",
    "_several",
    "_experiments _organs _seeds",
    "_reports _tracking",
    "_checks",
    "_describing _exploring",
    "_commands",
    "cli ledger",
    "__main__",
)
HEIGHT = {folder: height for height, line in enumerate(FLOORS) for folder in line.split()}

INSIDE = {
    # A run loads what its configuration asks for: Optuna, MONAI, Plotly and wandb's side only where they are used.
    ("_execute", "_training.trained_run"),
    ("_execute", "_tuning.tuned_run"),
    ("_commands.run", "_reports.study_page"),
    ("_commands.run", "_tracking.runs"),
    ("_commands.run", "_tracking.wandb_tracker"),
    # A check answers at once: torch is loaded where there is a GPU, or weights of the user's own, to be looked at.
    ("_checks.machine", "torch"),
    ("_checks.machine", "networks.device"),
    ("_checks.inputs", "networks.clip"),
    ("_checks.inputs", "networks.sam"),
    # Extras, which only pages that are served need.
    ("_commands.report", "_reports.serve"),
    # An extra of the installation, which only method=unet needs, and which says so where it is absent.
    ("networks.unet", "monai.networks.nets"),
    ("_training.augment", "monai"),
    ("_training.augment", "monai.utils.type_conversion"),
    ("_training.fit", "monai.losses"),
    # Extras again, which networks of others' need; each takes seconds to be imported.
    ("networks._hub", "huggingface_hub"),
    ("networks._hub", "open_clip.pretrained"),
    ("networks._open_clip", "open_clip"),
    ("networks._transformers", "transformers"),
    ("networks.sam", "kornia.models.tiny_vit"),
    # Extras again, which formats of images and task=describe need.
    ("data._dicom_pixels", "pydicom"),
    ("_runs._dicom_seg", "highdicom"),
    ("_runs._dicom_seg", "pydicom"),
    ("_runs._dicom_seg", "pydicom.sr.codedict"),
    ("_runs._dicom_seg", "pydicom.uid"),
    ("data._dicom_pixels", "pydicom.pixels"),
    ("_describing.server", "openai"),
    # Sentences are counted by the tokenizer of a CLIP of a library, which comes with its weights.
    ("_checks.tokens", "networks.clip"),
    ("data._itk", "nrrd"),
    ("data._ome", "tifffile"),
    # It is imported in a process of its own, which tells the run when that fails.
    ("_tracking.wandb_process", "wandb"),
    ("_tracking.wandb_process", "wandb_workspaces.reports.v2"),
    ("_tracking.wandb_process", "wandb_workspaces.workspaces"),
}
"""Imports that may stand inside a function, once each: who, and what."""


class Import(NamedTuple):
    """One import: the module that it stands in and what it names, both without `salip_exp.` in front."""

    importer: str
    imported: str
    inside: bool
    own: bool


def name_of(path: Path) -> str:
    """`_runs.folder` of its file; `networks` of `networks/__init__.py`; `salip_exp` of the package's own."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "salip_exp"


MODULES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}


def imports_of(module: str, node: ast.AST, inside: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in named(child):
            own = name.split(".")[0] == "salip_exp"
            yield Import(module, name.removeprefix("salip_exp.") if own else name, inside, own)
        yield from imports_of(module, child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def named(node: ast.AST) -> set[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    assert node.module and not node.level, f"line {node.lineno}: imports are absolute"
    whole = {f"{node.module}.{alias.name}" for alias in node.names}
    return {each if each.removeprefix("salip_exp.") in MODULES else node.module for each in whole}


def folder(module: str) -> str:
    return module.split(".")[0]


IMPORTS = [each for module, tree in MODULES.items() for each in imports_of(module, tree)]
WITHIN = [each for each in IMPORTS if each.own]


def test_every_folder_has_its_floor() -> None:
    assert {folder(module) for module in MODULES} == set(HEIGHT)


def test_every_import_points_down() -> None:
    between = [each for each in WITHIN if folder(each.importer) != folder(each.imported)]
    up = {each[:2] for each in between if HEIGHT[folder(each.imported)] >= HEIGHT[folder(each.importer)]}
    assert up == set()


def test_nothing_stands_in_a_circle() -> None:
    pairs = {each[:2] for each in WITHIN}
    for level in (folder, str):
        below: dict[str, set[str]] = {}
        for importer, imported in pairs:
            if level(importer) != level(imported):
                below.setdefault(level(importer), set()).add(level(imported))
        TopologicalSorter(below).prepare()  # raises CycleError, which names the circle


def test_imports_inside_functions_have_a_reason() -> None:
    inside = Counter(each[:2] for each in IMPORTS if each.inside)
    assert set(inside) == INSIDE
    assert [pair for pair in INSIDE if inside[pair] > 1] == []
