"""What an experiment came to, as its `study.json` holds it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from salip_exp._experiments import cost
from salip_exp._experiments.cell_runs import Unfinished
from salip_exp._experiments.cells import Finished
from salip_exp._experiments.ladder import lost
from salip_exp._experiments.results import Entry, Result
from salip_exp._experiments.verdict import SURE
from salip_exp._paper import OTHER_TEXT, Score, sources
from salip_exp._runs.folder import read_json
from salip_exp._runs.summary import EMBEDDED_NOTE, USES_TARGET, notes_on_images
from salip_exp._settings.folders import File
from salip_exp.config import Config, Data
from salip_exp.data._left_out import told_of

VERSION = 1

PHANTOMS = "phantoms: drawn images stand for the data sets of the paper"

LABELS = (EMBEDDED_NOTE, USES_TARGET, "tuned on test", OTHER_TEXT)

"""Beginnings of the notes of a run that have to be said wherever its numbers are shown."""


def notes(cells: Iterable[Finished], config: Config) -> list[str]:
    """What has to be said of all tables: what the images are, which weights are no real ones, what was tuned on, whose
    sentences they are, what the runs leave out."""
    cells = list(cells)
    said = [PHANTOMS] if cells and config.data is Data.phantoms else []
    said += notes_on_images(config)
    for cell in cells:
        said += labels_of(cell.folder)
        said += _fewer(cell, config)
        manifest = read_json(cell.folder / File.manifest) or {"data": {}}
        said += [f"{cell.cell.dataset}: {each}" for each in told_of(manifest["data"].get("left_out", ()))]
    return list(dict.fromkeys(said))


def labels_of(folder: Path) -> list[str]:
    """What has to be said wherever the numbers of a run are shown."""
    summary = read_json(folder / File.summary) or {}
    return [note for note in summary.get("notes", ()) if note.startswith(LABELS)]


def _fewer(cell: Finished, config: Config) -> list[str]:
    """That a cell scores fewer real images than it was to; nothing of a U-Net, which scores a share of all."""
    wanted = getattr(config.experiment.images, cell.cell.dataset) if config.data is Data.real else None
    if wanted is None or cell.config.dataset.sample != wanted or len(cell.records) >= wanted:
        return []
    name = cell.cell.dataset
    return [f"{name}: {len(cell.records)} images are scored of the {wanted} that experiment.images.{name} asks for"]


def table_notes(result: Result, config: Config) -> list[str]:
    """How the figures of a table came about."""
    against = result.table.against
    base = "SaLIP" if against is None else result.table.columns[against].title
    percent = f"{100 * config.score.confidence:g} %"
    said = [f"DSC: mean over n cases with its {percent} interval, at {config.score.at} size; paper: as printed there."]
    if result.table.iou:
        said.append("mIoU: mean over cases of the foreground IoU.")
    said.append(f"p: Wilcoxon signed-rank test against {base} on common cases, corrected by Holm over the table.")
    if result.table.order:
        said.append(
            f"clearly: the mean paired difference lies above 0, with p below {SURE} (not corrected); cases of one "
            "subject are one pair."
        )
    if result.table.cost:
        said.append(cost.told([each.cost for _, row in result.rows for each in row.values() if each.cost is not None]))
    return [*said, *result.table.footnotes]


def _table_json(result: Result, reading: str, config: Config) -> dict[str, Any]:
    """A table as `study.json` holds it; None is a figure that is missing."""
    rois = {name: source.roi for name, source in sources().items()}
    return {
        "name": result.table.name,
        "title": result.table.title,
        "columns": [column.title for column in result.table.columns.values()],
        "iou": result.table.iou,
        "notes": table_notes(result, config),
        "rows": [
            {
                "label": row.label,
                "roi": rois[row.dataset],
                "dataset": row.dataset,
                "cells": [_cell_json(key, entry, config) for key, entry in entries.items()],
            }
            for row, entries in result.rows
        ],
        "reading": reading,
        "differing": [asdict(each) for each in result.differing],
        "rankings": [asdict(each) for each in result.rankings],
        "losses": [asdict(each) for each in lost(result, config)],
    }


def _cell_json(key: str, entry: Entry, config: Config) -> dict[str, Any]:
    paper: Score = entry.paper
    return {
        "column": key,
        "paper": paper[0],
        "paper_iou": paper[1],
        "run": run_of(entry, config),
        "n": entry.n,
        "of": entry.of,
        "dsc": entry.dsc,
        "iou": entry.iou,
        "p": entry.p,
        "comparison": None if entry.comparison is None else asdict(entry.comparison),
        "state": entry.state,
        "why": entry.why,
        "cost": None if entry.cost is None else asdict(entry.cost),
    }


def cell_json(found: Finished | Unfinished, config: Config) -> dict[str, Any]:
    """A cell of the pool of failures as `study.json` holds it."""
    named = {"dataset": found.cell.dataset, "column": found.cell.column, "run": run_of(found, config)}
    if isinstance(found, Unfinished):
        return named | {"state": found.state, "why": found.why}
    return named | {"state": "finished", "why": ""}


def run_of(entry: Entry | Finished | Unfinished, config: Config) -> str | None:
    """The run folder of a cell, relative to `outputs`."""
    return None if entry.folder is None else Path(os.path.relpath(entry.folder, config.outputs)).as_posix()


def environment(cells: Iterable[Finished]) -> dict[str, Any]:
    """Where the numbers come from: commit, packages, machine and weights of all cells, each thing once."""
    found: dict[str, list[Any]] = {"commit": [], "packages": [], "machine": [], "device": []}
    weights: dict[str, str] = {}
    for cell in cells:
        manifest = read_json(cell.folder / File.manifest) or {}
        for name, seen in found.items():
            value = manifest.get(name)
            seen += [value] if value is not None and value not in seen else []
        weights |= {
            f"{net}={of.get('label', of['name'])}": of["sha256"] for net, of in manifest.get("weights", {}).items()
        }
    return {**found, "weights": weights}


def outcome_json(
    config: Config, command: str, said: Sequence[str], tables: Sequence[tuple[Result, str]], more: Mapping[str, Any]
) -> dict[str, Any]:
    """What `study.json` holds.

    Args:
        config: of the experiment.
        command: what to type to get it again.
        said: notes of all tables.
        tables: each with its reading.
        more: figures, counters, environment, seconds.
    """
    return {
        "version": VERSION,
        "kind": "experiment",
        "name": config.experiment.name,
        "command": command,
        "data": str(config.data),
        "notes": list(said),
        "tables": [_table_json(result, reading, config) for result, reading in tables],
        **more,
    }
