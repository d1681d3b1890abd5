"""Every score of every candidate comes back from one file, and each is the one that retrieval went by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from salip_exp._runs.candidates import frame_of, read_table, table_of, to_bytes, write_candidates
from salip_exp._runs.records import (
    CaseRecord,
    candidates_path,
    read_record,
    record_path,
    reusable,
    sha256,
    write_record,
)
from salip_exp.cascade.pool import Pool
from salip_exp.errors import EnvironmentFault
from salip_exp.methods.base import Prediction, Status

SENTENCES = ["a disc", "something round"]


@pytest.fixture
def prediction(make_pool) -> Prediction:
    masks = np.zeros((4, 8, 8), bool)
    for row, mask in enumerate(masks):
        mask[row : row + 3, 2:6] = True
    pool: Pool = make_pool(masks)
    scores, of_sentences = np.float32([0.3, 0.1, 0.2]), np.float32([[0.4, 0.1, 0.2], [0.2, 0.1, 0.2]])
    # CLIP saw all but the second, and what it said comes in an order of its own
    return Prediction(masks[0], Status.ok, pool, np.int64([3, 0, 2]), scores, [3], [0.3], pool.boxes[3:],
                      sentence_scores=of_sentences)  # fmt: skip


def record(name: str, content: bytes | None) -> CaseRecord:
    return CaseRecord("k", "f", name, "d", "g", None, None, "salip", "ok", png_sha256=sha256(b"png"),
                      candidates_sha256=None if content is None else sha256(content))  # fmt: skip


def test_a_row_has_what_its_candidate_was_given(prediction):
    frame = frame_of(table_of(prediction), SENTENCES)
    assert frame.candidate.tolist() == [0, 1, 2, 3]
    assert frame.kept.tolist() == [True, False, True, True]
    assert frame.selected.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(frame.score, np.float32([0.1, np.nan, 0.2, 0.3]))
    np.testing.assert_array_equal(frame.sentence_1, np.float32([0.1, np.nan, 0.2, 0.4]))
    np.testing.assert_array_equal(frame[["x0", "y0", "x1", "y1"]], prediction.pool.boxes)
    assert frame.area.tolist() == [12] * 4
    assert frame.attrs == {"sentences": SENTENCES}


def test_a_run_is_read_back_in_one_line(tmp_path, prediction):
    content = to_bytes(table_of(prediction))
    records = [record("a/1", content), record("b", None), record("c", content)]
    for each in records:
        write_record(tmp_path, each, b"png", content if each.candidates_sha256 else None)
    write_candidates(tmp_path, records, SENTENCES)
    found = pd.read_parquet(tmp_path / "candidates.parquet")
    assert found.case_id.tolist() == ["a/1"] * 4 + ["c"] * 4
    assert found.attrs == {"sentences": SENTENCES}
    expected = frame_of(table_of(prediction), SENTENCES)
    for _, rows in found.groupby("case_id"):
        pd.testing.assert_frame_equal(rows.drop(columns="case_id").reset_index(drop=True), expected)


def test_a_method_that_asks_no_clip_has_no_likeness_with_sentences(tmp_path, prediction):
    bare = Prediction(prediction.mask, Status.ok, prediction.pool, prediction.kept_ids, prediction.kept_scores)
    content = to_bytes(table_of(bare))
    write_record(tmp_path, record("a", content), b"png", content)
    write_candidates(tmp_path, [record("a", content)], ["a disc"])
    assert pd.read_parquet(tmp_path / "candidates.parquet").sentence_1.isna().all()
    assert table_of(Prediction(prediction.mask, Status.ok)) is None


@pytest.mark.parametrize("most", [1, 5, 8, 100])
def test_the_size_of_a_batch_changes_nothing(tmp_path, prediction, monkeypatch, most):
    """Cases of several batches, and one that CLIP was not asked about between them."""
    monkeypatch.setattr("salip_exp._runs.candidates._BATCH", most)
    bare = Prediction(prediction.mask, Status.ok, prediction.pool, prediction.kept_ids, prediction.kept_scores)
    tables = {name: table_of(bare if name == "c" else prediction) for name in "abcd"}
    records = [record(name, to_bytes(table)) for name, table in tables.items()]
    for each, table in zip(records, tables.values(), strict=True):
        write_record(tmp_path, each, b"png", to_bytes(table))
    write_candidates(tmp_path, records, SENTENCES)
    found = pd.read_parquet(tmp_path / "candidates.parquet")
    assert found.case_id.tolist() == [name for name in "abcd" for _ in range(4)]
    for name, rows in found.groupby("case_id"):
        frame = rows.drop(columns="case_id").reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, frame_of(tables[name], SENTENCES), check_dtype=False)


def test_a_run_without_candidates_has_no_file_of_them(tmp_path):
    write_candidates(tmp_path, [record("a", None)], SENTENCES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_case_whose_candidates_are_gone_or_damaged_is_done_again(tmp_path, prediction, damage):
    content = to_bytes(table_of(prediction))
    whole = record("a", content)
    write_record(tmp_path, whole, b"png", content)
    assert reusable(tmp_path, "a", "k") == whole
    assert read_table(tmp_path, whole).tobytes() == table_of(prediction).tobytes()
    path = candidates_path(tmp_path, "a")
    path.unlink() if damage == "gone" else path.write_bytes(content[:-1] + b"x")
    with pytest.raises(Exception, match="candidates"):
        reusable(tmp_path, "a", "k")
    with pytest.raises(EnvironmentFault, match=r"case a .*candidates"):
        write_candidates(tmp_path, [whole], SENTENCES)


def test_a_record_of_the_version_before_has_none(tmp_path):
    write_record(tmp_path, record("a", None), b"png")
    path = record_path(tmp_path, "a")
    older = path.read_text().replace('"version": 6', '"version": 5').replace(' "candidates_sha256": null,\n', "")
    path.write_text(older)
    assert "candidates" not in older
    assert read_record(path).candidates_sha256 is None
