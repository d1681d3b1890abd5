"""Names never collide or leave the folder; keys change with all that a number depends on, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.config import EmptyTarget, TextConfig
from salip_exp.runs.records import fingerprint, recipe, record_key, safe_name

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
    others = [(lower, *base[1:]), (empty, *base[1:]), (nearer, *base[1:]), (apart, *base[1:]),
              (base[0], {"sam": "9", "clip": "2"}, *base[2:]),
              (*base[:2], ["other"], "cpu"), (*base[:3], "cuda")]  # fmt: skip
    assert len({recipe(*each) for each in [base, *others]}) == len(others) + 1


def test_a_recipe_does_not_change_with_places_or_looks(fakes):
    moved = fakes.config(outputs="elsewhere", resume=True, figures="none", max_failed=1.0)
    moved.dataset.root, moved.sam.weights = "/other", "/some/file"
    arguments = ({"sam": "1"}, ["text"], "cpu")
    assert recipe(moved, *arguments) == recipe(fakes.config(), *arguments)


def test_a_key_needs_both_parts():
    assert len({record_key("a", "b"), record_key("b", "a"), record_key("ab", "")}) == 3
