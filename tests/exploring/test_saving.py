"""What is saved says the same as what was tried, whatever stands in the sentences."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from salip_exp._exploring import saving
from salip_exp._exploring.asked import asked_of
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.cascade.sentences import read_sentences
from salip_exp.config import VdtConfig
from salip_exp.data.case import CaseRef, Dataset, failing
from salip_exp.errors import CaseError, EnvironmentFault

pytestmark = pytest.mark.ci

ODD = ("${seed}, a \\${seed}", "it's \\' \"odd\", {a: b}", "$HOME = [1]", "größe 50 %; $(rm -rf)")


def dataset(*names: str) -> Dataset:
    load = failing(CaseError("E_READ", "not read"))
    return Dataset("d", [CaseRef(each, "g", each, load) for each in names])


def test_a_saved_command_and_file_hold_what_was_tried(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("one\ntwo\n")
    before = ["task=explore", "dataset=phantom_xray", f"vdt.file='{tmp_path / 'mine.txt'}'", "explore.port=0"]
    base = typed(compose(before))
    asked = replace(asked_of(base), sentences=ODD, area_enabled=False, box_nms_thresh=0.65)
    told = saving.save(tmp_path, base, before, asked, dataset("a", "b"), ["b"])
    words = shlex.split((Path(told["folder"]) / saving.COMMAND).read_text())
    assert words[:3] == ["python", "-m", "salip_exp"] and words[3:] == told["overrides"]
    made = typed(compose(words[3:]))
    assert asked_of(made) == asked and made.task == "run"
    assert Path(str(made.dataset.subset)).read_text() == "b\n"
    assert read_sentences(VdtConfig("lungs", file=told["text"])) == list(ODD)


def test_a_command_that_would_give_other_numbers_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ["task=explore", "dataset=phantom_xray"]
    base = typed(compose(before))
    monkeypatch.setattr(saving, "text_of", lambda value: "0.123")
    asked = replace(asked_of(base), area_threshold=0.2)
    with pytest.raises(EnvironmentFault, match="as area would differ"):
        saving.save(tmp_path / "none", base, before, asked, dataset("a"), ["a"])
    assert not (tmp_path / "none").exists()
