"""Reads a `.wandb` file: seven bytes of header, then LevelDB log records of protocol buffers, in blocks of 32 KiB."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEADER, PREFIX = 32768, 7, 7  # a prefix is crc32, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class WandbRun:
    """What a file says of its run, as the server would show it."""

    id: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artefacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None


def read_run(folder: Path, number: int = -1) -> WandbRun:
    """The offline run in a run folder's `wandb/`; of several the newest, or the given one."""
    path = sorted(folder.glob("wandb/offline-run-*/*.wandb"))[number]
    run = WandbRun()
    for record in records(path):
        _take(run, record)
    return run


def table(folder: Path, reference: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table that a history row or the summary refers to."""
    found = json.loads(next(folder.glob(f"wandb/*run-*/files/{reference['path']}")).read_text())
    return [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]


def records(path: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    for content in _contents(path.read_bytes()):
        record = Record()
        record.ParseFromString(content)
        yield record


def _contents(raw: bytes) -> Iterator[bytes]:
    assert raw[:4] == b":W&B", raw[:HEADER]
    place, whole = HEADER, b""
    while place + PREFIX <= len(raw):
        if BLOCK - place % BLOCK < PREFIX:  # too short for a prefix: padding
            place += BLOCK - place % BLOCK
            continue
        crc, length, kind = struct.unpack_from("<IHB", raw, place)
        part = raw[place + PREFIX : place + PREFIX + length]
        assert zlib.crc32(raw[place + 6 : place + PREFIX + length]) == crc
        place += PREFIX + length
        whole = part if kind in (FULL, FIRST) else whole + part
        if kind in (FULL, LAST):
            yield whole


def _take(run: WandbRun, record: Any) -> None:
    match record.WhichOneof("record_type"):
        case "run":
            said = record.run
            run.id, run.project, run.group, run.job_type = said.run_id, said.project, said.run_group, said.job_type
            run.name, run.tags = said.display_name, list(said.tags)
            _items(said.config.update, run.config)
        case "config":
            _items(record.config.update, run.config)
        case "summary":
            run.summary |= _items(record.summary.update)
        case "history":
            run.history.append(_items(record.history.item))
        case "artifact":
            run.artefacts.append(record.artifact)
        case "exit":
            run.exit_code = record.exit.exit_code


def _items(items: Any, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is told, added to what is known."""
    found = {} if known is None else known
    for each in items:
        *outer, last = list(each.nested_key) or [each.key]
        place = found
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = json.loads(each.value_json)
    return found
