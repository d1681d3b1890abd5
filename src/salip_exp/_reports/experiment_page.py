"""`study.html` of an experiment: its tables with the paper's figures beside ours, its readings and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salip_exp._reports.page import STRIP, address, data_uri, write_html
from salip_exp._runs.folder import StudyFolder, read_study
from salip_exp._settings.folders import File


def write_experiment(folder: Path, outputs: Path) -> None:
    """Write the page of an experiment from its `study.json`.

    Args:
        folder: of the experiment.
        outputs: that the paths of its cells' runs are relative to.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    write_experiment_page(read_study(folder, outputs), outputs)


def write_experiment_page(study: StudyFolder, outputs: Path) -> None:
    """Write the page of an experiment that has been read."""
    figures = [_figure(study.folder, entry) for entry in study.content["figures"]]
    cells = _cells(study)
    write_html(
        study.folder / File.study_page,
        "experiment.html.j2",
        study=study.content,
        cells=len(cells),
        finished=sum(cell["state"] == "finished" for cell in cells),
        index=address(outputs / File.all_runs, study.folder),
        figures=figures,
        pages=_pages(cells, study.folder, outputs),
    )


def parts_of(study: StudyFolder, outputs: Path) -> tuple[list[Path], list[str]]:
    """What the page of an experiment is made of: its files, and the runs of its cells that have a page."""
    figures = [study.folder / str(entry["file"]) for entry in study.content["figures"] if entry.get("file")]
    return [study.folder / File.study, *figures], sorted(_pages(_cells(study), study.folder, outputs))


def _cells(study: StudyFolder) -> list[Mapping[str, Any]]:
    of_tables = [cell for table in study.content["tables"] for row in table["rows"] for cell in row["cells"]]
    return [*of_tables, *study.content.get("failures", {}).get("cells", ())]


def _figure(folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    picture = data_uri(folder / str(entry["file"]), STRIP) if entry.get("file") else None
    return {**entry, "picture": picture}


def _pages(cells: Sequence[Mapping[str, Any]], folder: Path, outputs: Path) -> dict[str, str]:
    """The address of the page of every run that a cell was read from, where there is one."""
    runs = {cell["run"] for cell in cells if cell["run"]}
    return {run: address(outputs / run / File.report, folder) for run in runs if (outputs / run / File.report).exists()}
