"""A record is used again only if whole and made from the same things; names never collide or leave the folder."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._files import atomic_write, png
from salip_exp._runs.records import (
    RECORD_VERSION,
    CaseRecord,
    StaleRecord,
    fingerprint,
    prediction_path,
    read_record,
    recipe,
    record_key,
    record_path,
    reusable,
    run_identity,
    safe_name,
    sha256,
    write_record,
)
from salip_exp.config import ConfidenceConfig, Doubt, EmptyTarget, TextConfig
from salip_exp.errors import EnvironmentFault

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


HOSTILE = ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a b", "a/b", "a-b", "größe", "<script>alert(1)</script>",
           "x" * 400, "x" * 401, "a\nb", "a\x00b", "名前", "name\udcff", "-rf", ".hidden"]  # fmt: skip


@pytest.mark.parametrize("case_id", HOSTILE)
@pytest.mark.fault("D18")
def test_a_hostile_id_becomes_one_plain_file_name(case_id):
    name = safe_name(case_id)
    assert Path(name).name == name
    assert name not in ("", ".", "..")
    assert not name.startswith((".", "-"))
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~")
    assert len(name) < 100


def test_plain_ids_keep_their_name():
    assert safe_name("010_HC-2.v1") == "010_HC-2.v1"


@pytest.mark.fault("D18")
def test_hostile_ids_get_names_of_their_own():
    assert len({safe_name(each) for each in HOSTILE}) == len(HOSTILE)


@given(st.lists(st.text(max_size=8), unique=True, max_size=20))
def test_different_ids_get_different_names(ids):
    assert len({safe_name(each) for each in ids}) == len(ids)


def test_a_fingerprint_changes_with_pixels_target_spacing_and_identity(fakes):
    case = fakes.make_case(1, "a")
    image, mask = case.image.copy(), case.mask.copy()
    image[0, 0, 0] ^= 1
    mask[0, 0] ^= True
    others = [
        replace(case, image=image),
        replace(case, mask=mask),
        replace(case, mask=None),
        replace(case, spacing=(0.5, 0.6)),
        replace(case, facts={"head_circumference_mm": 170.0}),
        replace(case, case_id="b"),
        replace(case, image=np.ascontiguousarray(case.image.reshape(16, 64, 3))),
    ]
    assert fingerprint(case) == fingerprint(fakes.make_case(1, "a"))
    assert len({fingerprint(each) for each in [case, *others]}) == len(others) + 1


def test_a_recipe_changes_with_settings_weights_text_and_device(fakes):
    base = (fakes.config(), {"sam": "1", "clip": "2"}, ["text"], "cpu")
    lower = fakes.config()
    lower.sam.pred_iou_thresh = 0.5
    empty = fakes.config()
    empty.score.empty_target = EmptyTarget.one
    nearer = fakes.config()
    nearer.score.tolerance_mm = 1.0
    apart = fakes.config()
    apart.vdt.parts = {"one": TextConfig("one", ["text"])}
    alone, later = fakes.config(), fakes.config()
    for each in (alone, later):
        each.confidence = ConfidenceConfig("ensemble", [Doubt.ensemble], by=Doubt.ensemble)
    later.score.poor_below = 0.7  # below it that confidence is flagged
    others = [(alone, *base[1:]), (later, *base[1:]),
              (lower, *base[1:]), (empty, *base[1:]), (nearer, *base[1:]), (apart, *base[1:]),
              (base[0], {"sam": "9", "clip": "2"}, *base[2:]),
              (*base[:2], ["other"], "cpu"), (*base[:3], "cuda")]  # fmt: skip
    assert len({recipe(*each) for each in [base, *others]}) == len(others) + 1


def test_a_recipe_with_a_fit_of_few_signals_is_that_of_before_there_was_another_confidence(fakes):
    fast = fakes.config(confidence=ConfidenceConfig("fast", [Doubt.shape, Doubt.pair], contrast={}))
    told = recipe(fast, {"sam": "1"}, ["text"], "cpu")
    assert told == "18a762066fa7b7e54fb373b952341005077e1572635651ea2cb1c980cc0552f8"


def test_a_recipe_does_not_change_with_places_or_looks(fakes):
    moved = fakes.config(outputs="elsewhere", resume=True, figures="none", max_failed=1.0)
    moved.dataset.root, moved.sam.weights = "/other", "/some/file"
    arguments = ({"sam": "1"}, ["text"], "cpu")
    assert recipe(moved, *arguments) == recipe(fakes.config(), *arguments)


def test_a_key_needs_both_parts():
    keys = {record_key(run_identity(a, []), b) for a, b in (("a", "b"), ("b", "a"), ("ab", ""))}
    assert len(keys) == 3
