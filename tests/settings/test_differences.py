"""What differs between two runs, key by key and sentence by sentence, as their folders tell it."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from salip_exp._runs._manifest import write_config
from salip_exp._settings.compose import compose
from salip_exp._settings.differences import Told, between, differing, lines_of, told_by
from salip_exp._settings.validate import typed


def run(folder: Path, sentences: list[str] | None, *overrides: str) -> Path:
    folder.mkdir()
    write_config(folder, typed(compose(["dataset=phantom_xray", *overrides])))
    if sentences is not None:
        (folder / "manifest.json").write_text(json.dumps({"sentences": sentences}))
    return folder


def test_keys_and_sentences_that_differ_are_told_and_nothing_else(tmp_path: Path) -> None:
    one = told_by(run(tmp_path / "a", ["a", "both"], "outputs=x", "progress=false"))
    other = told_by(run(tmp_path / "b", ["both", "b"], "area.enabled=false", "vdt.sentences=[both,b]"))
    assert one is not None and other is not None
    assert between(one, other) == [
        ("area.enabled", "true", "false"),
        ("sentence", "a", "–"),
        ("sentence", "–", "b"),
    ]
    assert between(one, one) == []


def test_a_run_without_sentences_differs_in_none_and_one_without_a_configuration_is_none(tmp_path: Path) -> None:
    one, other = told_by(run(tmp_path / "a", None)), told_by(run(tmp_path / "b", ["b"], "method=gt_sam"))
    assert one is not None and other is not None
    assert between(one, other) == [("method", "salip", "gt_sam")]
    assert told_by(tmp_path) is None
    (tmp_path / "config.yaml").write_text("- no mapping\n")
    assert told_by(tmp_path) is None


def test_of_several_runs_every_key_that_differs_is_told_with_the_value_of_each(tmp_path: Path) -> None:
    runs = {
        "a": run(tmp_path / "a", ["one"], "seed=1", "outputs=x"),
        "b": run(tmp_path / "b", ["one", "two"], "seed=2"),
        "c": run(tmp_path / "c", None, "seed=1", "method=gt_sam"),
        "lost": tmp_path / "lost",
    }
    found = differing(runs)
    assert found == {
        "seed": {"a": "1", "b": "2", "c": "1"},
        "method": {"a": "salip", "b": "salip", "c": "gt_sam"},
        "sentences": {"a": "[one]", "b": "[one, two]"},
    }
    assert "seed: 1, 2, 1" in lines_of(found) and "sentences: [one], [one, two]" in lines_of(found)
    assert differing({"a": runs["a"]}) == {}
    assert lines_of({"k": dict.fromkeys("abcdefghij", "x" * 70)}) == [f"k: {', '.join(['x' * 60 + '...'] * 8)}, ..."]


SETTINGS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xy"))
TOLD = st.builds(Told, SETTINGS, st.lists(st.sampled_from("pqr"), unique=True))


@given(TOLD, TOLD)
def test_what_differs_is_the_same_the_other_way_round(one: Told, other: Told) -> None:
    there, back = between(one, other), between(other, one)
    assert sorted(there) == sorted((key, b, a) for key, a, b in back)
    assert between(one, one) == []
