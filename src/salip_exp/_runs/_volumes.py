"""What the volumes of a run come to in three dimensions: `volumes.csv`, a row for each, from the masks as written."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from salip_exp._files import atomic_write, read_small
from salip_exp._runs.masks import mask_file
from salip_exp._runs.records import CaseRecord
from salip_exp._settings.folders import File
from salip_exp.config import Axis, DatasetConfig, ScoreAt, ScoreConfig
from salip_exp.data._stored import ASKEW, is_square
from salip_exp.data.loading import target_volume
from salip_exp.data.volumes import read_volume
from salip_exp.errors import CaseError, require_lasting
from salip_exp.evaluation._volumes import FIGURES, measure_volume

COLUMNS = (
    *("volume", "group", "subject", "slices", "slices_run", "score_at"),
    *(*FIGURES, "note", "image", "mask", "prediction"),
)


def write_volumes(folder: Path, records: Sequence[CaseRecord], data: DatasetConfig, score: ScoreConfig) -> None:
    """Write a row for each volume whose mask was written, or no file where there is none.

    All is measured on the grid of the image, whatever `score.at` says. A volume of which some slices were not run on,
    or failed, is no whole one: its figures are missing, and its note says why.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    path = folder / File.volume_table
    slices: dict[str, list[CaseRecord]] = {}
    for each in records:
        if each.axis is not None and (name := mask_file(each)) is not None and (folder / name).exists():
            slices.setdefault(name, []).append(each)
    if not slices:
        path.unlink(missing_ok=True)
        return
    rows = [_row(folder, name, cases, data, score) for name, cases in slices.items()]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    atomic_write(path, frame.to_csv(index=False, lineterminator="\n"))


def read_volumes(folder: Path) -> pd.DataFrame:
    """The table of volumes of a run; empty where it has none that can be read, as runs of pictures and of 0.1.0."""
    try:
        found = pd.read_csv(io.BytesIO(read_small(folder / File.volume_table)), dtype={"volume": str, "subject": str})
    except (OSError, ValueError):
        return pd.DataFrame(columns=list(COLUMNS))
    return found if set(COLUMNS) <= set(found.columns) else pd.DataFrame(columns=list(COLUMNS))


def _row(
    folder: Path, name: str, cases: Sequence[CaseRecord], data: DatasetConfig, score: ScoreConfig
) -> dict[str, Any]:
    first = cases[0]
    told = {
        **{"volume": first.volume, "group": first.group, "subject": first.subject, "slices_run": len(cases)},
        **{"score_at": str(ScoreAt.native), "image": first.image, "mask": first.mask, "prediction": name},
    }
    try:
        return told | _measured(folder / name, first, len(cases), data, score)
    except CaseError as error:
        require_lasting(error)
        return told | {"note": f"{error.code}: {error}"}


def _measured(path: Path, first: CaseRecord, run: int, data: DatasetConfig, score: ScoreConfig) -> dict[str, Any]:
    prediction, axis = read_volume(path), Axis(first.axis or "")
    slices = prediction.depth(axis)
    told = {"slices": slices}
    if run < slices:
        return told | {"note": f"{run} of {slices} slices have a prediction: no whole volume"}
    if min(prediction.values.shape) == 1:
        return told | {"note": "one slice: no volume"}
    target = None if first.mask is None else target_volume(Path(first.image or ""), Path(first.mask), data, axis).values
    found = measure_volume(prediction.values != 0, target, prediction.affine, score)
    return told | found | {"note": None if target is None or is_square(prediction.affine) else ASKEW}
