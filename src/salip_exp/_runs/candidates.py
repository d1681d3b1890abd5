"""All candidates of a case with every score that they were given, kept beside its record; of all cases in one table.

`candidates/<name>.npy` is one array, a row for each candidate of the pool, written before the case's record, which
knows it by its hash. `candidates.parquet` is made of these files when the last case is finished.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from salip_exp._files import atomic_write
from salip_exp._runs.records import CaseRecord, StaleRecord, read_candidates
from salip_exp._runs.summary import utf8
from salip_exp._settings.folders import File
from salip_exp.errors import EnvironmentFault
from salip_exp.methods.base import Prediction

Table = NDArray[np.void]
"""A row for each candidate, with the fields of `_FIELDS` and one for the sentences."""

_FIELDS = [
    ("candidate", "<i4"),  # its place in the pool, by which `selected` of cases.csv names it
    ("kept", "?"),  # CLIP saw it
    ("selected", "?"),
    ("score", "<f4"),  # what retrieval went by: likeness with the prototype; NaN where it was not kept
    ("x0", "<f4"),
    ("y0", "<f4"),
    ("x1", "<f4"),
    ("y1", "<f4"),
    ("area", "<i4"),
    ("predicted_iou", "<f4"),
    ("stability", "<f4"),
]
_SENTENCES = "sentences"
_BATCH = 100_000
"""Rows that are in memory at once, and in one group of the file."""


def table_of(prediction: Prediction) -> Table | None:
    """The candidates of a prediction in the order of the pool; None for a method without a pool."""
    pool = prediction.pool
    if pool is None:
        return None
    table = np.zeros(len(pool), [*_FIELDS, (_SENTENCES, "<f4", (len(prediction.sentence_scores),))])
    kept = np.isin(pool.ids, prediction.kept_ids)
    table["candidate"], table["area"] = pool.ids, pool.areas
    table["predicted_iou"], table["stability"] = pool.predicted_iou, pool.stability
    for side, edge in zip(("x0", "y0", "x1", "y1"), pool.boxes.T, strict=True):
        table[side] = edge
    table["kept"] = kept
    table["selected"] = np.isin(pool.ids, np.asarray(prediction.selected_ids, np.int64))
    table["score"], table[_SENTENCES] = np.nan, np.nan
    order = np.argsort(prediction.kept_ids)  # as the pool's own, which ascend
    table["score"][kept] = prediction.kept_scores[order]
    table[_SENTENCES][kept] = prediction.sentence_scores.T[order] if len(prediction.sentence_scores) else np.nan
    return table


def to_bytes(table: Table) -> bytes:
    """The file of a case."""
    stream = io.BytesIO()
    np.save(stream, table, allow_pickle=False)
    return stream.getvalue()


def read_table(folder: Path, record: CaseRecord) -> Table | None:
    """The candidates of a record; None where it has none, as records of earlier versions.

    Raises:
        StaleRecord: their file is gone, or is not what was written.
    """
    content = read_candidates(folder, record)
    if content is None:
        return None
    found: Table = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def frame_of(table: Table, sentences: Sequence[str]) -> pd.DataFrame:
    """Candidates for people: a column for each field, and `sentence_1`, ... for the likeness with each sentence.

    Boxes and areas are in pixels at working size, far edges inclusive. `attrs["sentences"]` has the texts.
    """
    scores = table[_SENTENCES] if table[_SENTENCES].shape[1] else np.full((len(table), len(sentences)), np.nan, "<f4")
    columns = {name: table[name] for name, _ in _FIELDS}
    frame = pd.DataFrame(columns | dict(zip(_named(sentences), scores.T, strict=True)))
    frame.attrs = {_SENTENCES: list(sentences)}
    return frame


def write_candidates(folder: Path, records: Sequence[CaseRecord], sentences: Sequence[str]) -> None:
    """Write the candidates of all cases that have any, with `case_id` in front, or no file where none has.

    No more than a batch is in memory. pandas reads it back as `frame_of` gives it.

    Raises:
        EnvironmentFault: the folder cannot be written, or a case's file is gone or damaged.
    """
    path = folder / File.candidate_table
    if all(each.candidates_sha256 is None for each in records):
        path.unlink(missing_ok=True)
        return
    empty = frame_of(np.zeros(0, [*_FIELDS, (_SENTENCES, "<f4", (0,))]), sentences)
    schema = pa.Schema.from_pandas(empty.assign(case_id=pd.Series(dtype="str")), preserve_index=False)
    schema = pa.schema([pa.field("case_id", pa.string()), *(each for each in schema if each.name != "case_id")])
    schema = schema.with_metadata({"PANDAS_ATTRS": json.dumps(empty.attrs, ensure_ascii=False)})

    def fill(stream: BinaryIO) -> None:
        with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for batch in _batches(folder, records, sentences):
                writer.write_table(pa.Table.from_pandas(batch, schema, preserve_index=False))

    atomic_write(path, fill)


def _batches(folder: Path, records: Sequence[CaseRecord], sentences: Sequence[str]) -> Iterator[pd.DataFrame]:
    waiting: list[tuple[str, Table]] = []
    held = 0
    for record in records:
        try:
            table = read_table(folder, record)
        except StaleRecord as error:
            raise EnvironmentFault(f"case {record.case_id} {error}: the case must be done again") from error
        if table is None:
            continue
        if waiting and (held >= _BATCH or table.dtype != waiting[0][1].dtype):
            yield _batch(waiting, sentences)
            waiting, held = [], 0
        waiting.append((utf8(record.case_id), table))
        held += len(table)
    if waiting:
        yield _batch(waiting, sentences)


def _batch(tables: Sequence[tuple[str, Table]], sentences: Sequence[str]) -> pd.DataFrame:
    """The candidates of some cases, whose tables are of one type: a frame for each case would cost more than all."""
    names = np.repeat([name for name, _ in tables], [len(table) for _, table in tables])
    return frame_of(np.concatenate([table for _, table in tables]), sentences).assign(case_id=names)


def _named(sentences: Sequence[Any]) -> list[str]:
    return [f"sentence_{number}" for number in range(1, len(sentences) + 1)]
