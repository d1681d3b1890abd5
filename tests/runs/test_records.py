"""A record is used again only when it is whole and was made from the same things."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace

import numpy as np
import pytest

from salip_exp._files import atomic_write, png
from salip_exp.errors import EnvironmentFault
from salip_exp.runs.records import (
    RECORD_VERSION,
    CaseRecord,
    StaleRecord,
    prediction_path,
    read_record,
    record_path,
    reusable,
    sha256,
    write_record,
)

MASK = np.eye(8, dtype=bool)
PICTURE = png(MASK.astype(np.uint8) * 255)
RECORD = CaseRecord("key", "print", "a/b", "fake", "all", None, None, "salip", "ok", n_pool=2, selected=[1],
                    scores={"dsc": 0.1 + 0.2, "iou": 1.0, "nsd": None}, similarities=[0.5],
                    boxes=[[0.0, 1.0, 2.0, 3.0]], seconds={"load": 0.1}, work={"x": 1},
                    png_sha256=sha256(PICTURE))  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    write_record(tmp_path, RECORD, PICTURE)
    return tmp_path


def test_a_record_comes_back_as_it_went(folder):
    assert reusable(folder, "a/b", "key") == RECORD


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace(f'"version": {RECORD_VERSION}', '"version": 99'),
        lambda text: text.replace('"n_pool": 2', '"unknown": 1.0, "n_pool": 2'),
        lambda text: text.replace('"iou": 1.0', '"iou": true'),
        lambda text: text.replace('"n_pool": 2,', ""),
        lambda text: text.replace('"selected": [', '"selected": ["x", '),
        lambda text: text.replace("a/b", "a/c"),
        lambda text: text.replace('"status": "ok"', '"status": "failed(E_READ)"'),
        lambda text: "\x00" * len(text),
    ],
)
@pytest.mark.fault("S6", "R2")
def test_a_damaged_record_is_refused(folder, damage):
    path = record_path(folder, "a/b")
    whole = path.read_text()
    assert damage(whole) != whole
    path.write_text(damage(whole))
    with pytest.raises(StaleRecord):
        reusable(folder, "a/b", "key")


@pytest.mark.fault("R2", "D19")
def test_a_record_made_from_something_else_is_refused(folder):
    with pytest.raises(StaleRecord, match="another image, configuration, weights or scores"):
        reusable(folder, "a/b", "other")


@pytest.mark.fault("R2")
def test_a_record_whose_picture_is_gone_or_damaged_is_refused(folder):
    place = prediction_path(folder, "a/b")
    place.write_bytes(PICTURE[:-1])
    with pytest.raises(StaleRecord, match="damaged prediction"):
        reusable(folder, "a/b", "key")
    place.unlink()
    with pytest.raises(StaleRecord, match="lacks its prediction"):
        reusable(folder, "a/b", "key")


def test_a_failed_case_leaves_no_older_prediction(folder):
    write_record(folder, replace(RECORD, status="failed(E_READ)", png_sha256=None), None)
    assert not prediction_path(folder, "a/b").exists()
    assert read_record(record_path(folder, "a/b")).failed


@pytest.mark.fault("R7")
def test_nan_cannot_get_into_a_record(folder):
    with pytest.raises(ValueError, match="JSON"):
        write_record(folder, replace(RECORD, scores={"dsc": float("nan")}), PICTURE)
    assert json.loads(record_path(folder, "a/b").read_text())["scores"] == RECORD.scores


@pytest.mark.fault("R1", "X3")
def test_a_full_disk_leaves_the_old_file_whole_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    atomic_write(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(EnvironmentFault, match="make room"):
            atomic_write(path, "new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_text_that_utf8_lacks_is_written_as_escapes(tmp_path):
    atomic_write(tmp_path / "file", "a\udcffb")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "a\\udcffb"
