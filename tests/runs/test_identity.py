"""A folder says what it is of, and another thing is told from it."""

from __future__ import annotations

import pytest

from salip_exp._runs._identity import Identity, differences, read_identity, require_same, write_identity
from salip_exp._settings.folders import File
from salip_exp.errors import EnvironmentFault

STUDY = Identity("study", {"study": "hc18-random-1"}, ["a", "b"])


def test_it_is_read_as_it_was_written_whatever_ids_are(tmp_path):
    identity = Identity("run", {"recipe": "x", "scores": ["y 1.0"]}, ["ü", "x\udcff", "../a"])
    write_identity(tmp_path, identity)
    assert read_identity(tmp_path) == identity


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": 1, "of": 2, "cases": 3}'])
def test_what_cannot_be_read_is_of_nothing(tmp_path, content):
    (tmp_path / File.identity).write_text(content)
    assert read_identity(tmp_path) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (STUDY, []),
        (Identity("training", {}, []), ["it is no training"]),
        (Identity("study", {"study": "other"}, ["a", "b"]), ["other settings, weights, text or images"]),
        (Identity("study", STUDY.of, ["b", "c"]), ["no longer with a", "now with c"]),
        (Identity("study", STUDY.of, ["b", "a"]), ["its cases in another order"]),
    ],
)
@pytest.mark.fault("I2")
def test_another_thing_is_refused_and_what_differs_is_said(tmp_path, other, said):
    require_same(tmp_path, STUDY)
    assert differences(STUDY, other) == said
    if not said:
        require_same(tmp_path, other)
        return
    with pytest.raises(EnvironmentFault, match="holds a study with other") as caught:
        require_same(tmp_path, other)
    assert all(each in str(caught.value) for each in said)
    assert read_identity(tmp_path) == STUDY
