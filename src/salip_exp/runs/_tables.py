"""`cases.csv` and `cases.parquet`: a row per case."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from salip_exp._files import atomic_write
from salip_exp._settings.folders import File
from salip_exp.evaluation.scores import scores
from salip_exp.runs.records import CaseRecord

IDENTITY: dict[str, pa.DataType] = {
    "case_id": pa.string(),
    "dataset": pa.string(),
    "group": pa.string(),
    "volume": pa.string(),
    "slice": pa.int64(),
    "method": pa.string(),
    "status": pa.string(),
}

REST: dict[str, pa.DataType] = {
    "n_pool": pa.int64(),
    "n_kept": pa.int64(),
    "selected": pa.list_(pa.int64()),
    "scores": pa.list_(pa.float64()),  # similarities of the selected candidates
    "boxes": pa.list_(pa.list_(pa.float64())),
    "best_candidate_iou": pa.float64(),
    "failure": pa.string(),
    "pixels_both": pa.int64(),
    "pixels_predicted": pa.int64(),
    "pixels_target": pa.int64(),
    "message": pa.string(),
    "notes": pa.list_(pa.string()),
}


def columns() -> dict[str, pa.DataType]:
    """What both files hold of a case, a column for each score among it."""
    return IDENTITY | {score.name: pa.float64() for score in scores()} | REST


def write_tables(folder: Path, records: Sequence[CaseRecord]) -> None:
    """Write both files, rows in the given order; after `columns()` comes `seconds_<stage>` for every stage that ran.

    A figure that was not computed is an empty cell of the CSV and null in Parquet; lists are JSON in the CSV.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    stages = dict.fromkeys(f"seconds_{stage}" for record in records for stage in record.seconds)
    schema = pa.schema(columns() | dict.fromkeys(stages, pa.float64()))
    table = pd.DataFrame([_row(record) for record in records], columns=schema.names, dtype=object)
    stream = io.BytesIO()
    table.to_parquet(stream, index=False, schema=schema)
    atomic_write(folder / File.case_columns, stream.getvalue())
    lists = {name: table[name].map(_json) for name in schema.names if pa.types.is_list(schema.field(name).type)}
    atomic_write(folder / File.case_table, table.assign(**lists).to_csv(index=False, lineterminator="\n"))


def _row(record: CaseRecord) -> dict[str, Any]:
    values = asdict(record) | record.scores | {"scores": record.similarities}
    seconds = {f"seconds_{stage}": taken for stage, taken in record.seconds.items()}
    return {name: _utf8(value) for name, value in (values | seconds).items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _utf8(value: Any) -> Any:
    """Text as UTF-8 can hold it: file names need not be valid text, Parquet's strings must."""
    if isinstance(value, list):
        return [_utf8(each) for each in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
