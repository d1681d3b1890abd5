"""The folder of a run, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from salip_exp._runs._volumes import read_volumes
from salip_exp._runs.folder import read_run as read_folder
from salip_exp._runs.folder import run_folders
from salip_exp._runs.summary import case_table
from salip_exp._settings.folders import File
from salip_exp.config import ScoreAt
from salip_exp.errors import DataError


@dataclass(frozen=True)
class RunTables:
    """What a run left.

    Attributes:
        folder: where it lies.
        state: `finished`, `running`, `waiting`, `interrupted`, `killed`, `failed` or `damaged`.
        cases: a row for each case that is done, with the columns of `cases.csv`.
        candidates: a row for each candidate of each case (`case_id`), with the columns of `Segmentation.candidates`;
            empty where none were kept: methods without candidates, runs that are not finished, earlier versions.
        volumes: a row for each volume with the columns of `volumes.csv`; empty for pictures and earlier versions.
        summary: what `summary.json` holds; empty where the run is not finished.
    """

    folder: Path
    state: str
    cases: pd.DataFrame
    candidates: pd.DataFrame
    volumes: pd.DataFrame
    summary: Mapping[str, Any]


def read_run(folder: str | Path) -> RunTables:
    """Read the folder of a run, finished or not.

    Raises:
        DataError: it is none, or its tables cannot be read.
    """
    place = Path(folder).expanduser()
    if run_folders(place)[:1] != [place]:
        raise DataError(f"{place} is no folder of a run: name the one that holds its manifest.json")
    found, table = read_folder(place), place / File.candidate_table
    try:
        candidates = pd.read_parquet(table) if found.summary and table.exists() else pd.DataFrame()
    except (OSError, ValueError) as error:
        raise DataError(f"{table} cannot be read ({error}): run again with resume=true") from error
    at = found.summary.get("score_at", ScoreAt.working) if found.summary else None  # 0.1.0 had no other size
    cases = case_table(place, found.records, at).to_pandas()
    return RunTables(place, str(found.label), cases, candidates, read_volumes(place), found.summary)
