"""`cases.csv` and `cases.parquet`: a row per case."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from salip_exp.files import atomic_write
from salip_exp.runs.records import CaseRecord

COLUMNS: dict[str, pa.DataType] = {
    "case_id": pa.string(),
    "dataset": pa.string(),
    "group": pa.string(),
    "volume": pa.string(),
    "slice": pa.int64(),
    "method": pa.string(),
    "status": pa.string(),
    "dsc": pa.float64(),
    "iou": pa.float64(),
    "hd95": pa.float64(),
    "nsd": pa.float64(),
    "hc_mm": pa.float64(),
    "hc_error_mm": pa.float64(),
    "n_pool": pa.int64(),
    "n_kept": pa.int64(),
    "selected": pa.list_(pa.int64()),
    "scores": pa.list_(pa.float64()),
    "boxes": pa.list_(pa.list_(pa.float64())),
    "best_candidate_iou": pa.float64(),
    "failure": pa.string(),
    "pixels_both": pa.int64(),
    "pixels_predicted": pa.int64(),
    "pixels_target": pa.int64(),
    "message": pa.string(),
    "notes": pa.list_(pa.string()),
}


def write_tables(folder: Path, records: Sequence[CaseRecord]) -> None:
    """Write both files, rows in the given order; after COLUMNS comes `seconds_<stage>` for every stage that ran.

    A figure that was not computed is an empty cell of the CSV and null in Parquet; lists are JSON in the CSV.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    stages = list(dict.fromkeys(stage for record in records for stage in record.seconds))
    schema = COLUMNS | {f"seconds_{stage}": pa.float64() for stage in stages}
    rows = [_row(record, stages) for record in records]
    atomic_write(folder / "cases.csv", _csv(list(schema), rows))
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(schema.items()))), stream)
    atomic_write(folder / "cases.parquet", stream.getvalue())


def _row(record: CaseRecord, stages: Sequence[str]) -> dict[str, Any]:
    values = asdict(record)
    seconds = {f"seconds_{stage}": record.seconds.get(stage) for stage in stages}
    return {name: _utf8(values[name]) for name in COLUMNS} | seconds


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _utf8(value: Any) -> Any:
    """Text as UTF-8 can hold it: file names need not be valid text, Parquet's strings must."""
    if isinstance(value, list):
        return [_utf8(each) for each in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
