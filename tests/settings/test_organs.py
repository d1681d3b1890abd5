"""Several organs in one command: how they are asked for, and what each of their runs is told."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from salip_exp._settings.compose import compose
from salip_exp._settings.organs import of_organs
from salip_exp._settings.validate import typed
from salip_exp.cascade.sentences import read_sentences
from salip_exp.config import Config
from salip_exp.errors import ConfigError


@cache
def composed(*groups: str) -> DictConfig:
    """What Hydra composes of groups, which takes a while."""
    return compose(["dataset=folder", "dataset.root=x", *groups])


def config(*overrides: str) -> Config:
    groups = tuple(each for each in overrides if each.startswith(("dataset=", "vdt=")))
    rest = [each for each in overrides if each not in groups]
    return typed(OmegaConf.merge(composed(*groups), OmegaConf.from_dotlist(rest)))


def test_each_run_has_its_label_its_k_its_name_and_its_own_sentences() -> None:
    kidneys = 'kidneys: {label: 2, k: 2, sentences: ["a bean"]}'
    asked = config(f'dataset.files.labels={{liver: {{label: 1, sentences: ["a wedge", "a lobe"]}}, {kidneys}}}')
    runs = of_organs(asked)
    told = {name: (each.dataset.roi, each.dataset.files.label, each.dataset.k) for name, each in runs.items()}
    assert told == {"liver": ("liver", 1, 1), "kidneys": ("kidneys", 2, 2)}
    assert [read_sentences(each.vdt) for each in runs.values()] == [["a wedge", "a lobe"], ["a bean"]]
    assert all(each.dataset.files.labels is None for each in runs.values())
    assert of_organs(config("method=gt_sam")) == {}


def test_texts_are_found_by_the_names_of_organs(tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    file.write_text(json.dumps({"liver": ["a wedge"], "spleen": ["a fist"], "heart": ["a cone"]}))
    runs = of_organs(config("dataset.files.labels=[spleen,liver]", f"vdt.file={file}"))
    assert {name: read_sentences(each.vdt) for name, each in runs.items()} == {
        "spleen": ["a fist"],
        "liver": ["a wedge"],
    }
    file.with_suffix(".yaml").write_text("name: liver\nsentences: [a wedge]\n")
    kidneys = "{liver: 1, kidneys: {label: 2, sentences: [a bean]}}"
    runs = of_organs(config(f"dataset.files.labels={kidneys}", f"vdt.file={file.with_suffix('.yaml')}"))
    assert [read_sentences(each.vdt) for each in runs.values()] == [["a wedge"], ["a bean"]]
    shipped = of_organs(config("dataset.files.labels={left_lung: 1, right_lung: 2}"))
    for name, each in shipped.items():
        assert each.vdt.sentences == compose([f"vdt={name}"]).vdt.sentences


def test_a_method_without_clip_wants_no_text() -> None:
    assert list(of_organs(config("dataset.files.labels={liver: 1, spleen: 3}", "method=gt_sam"))) == ["liver", "spleen"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["dataset.files.labels={liver: 1, spleen: 3}"], "liver has no text of its own"),
        (["dataset.files.labels={liver: 1, spleen: 3}", "vdt=brain"], "liver has no text of its own"),
        (["dataset.files.labels={liver: 1}", "method=gt_sam"], "is one organ: use dataset.files.label"),
        (["dataset.files.labels={a: 1, b: 1}", "method=gt_sam"], "a name or a label twice"),
        (["dataset.files.labels={a: 1, A: 2}", "method=gt_sam"], "a name or a label twice"),
        (["dataset.files.labels={../a: 1, b: 2}", "method=gt_sam"], "use letters, digits"),
        (["dataset.files.labels={a: 1.5, b: 2}", "method=gt_sam"], "takes names with a label each"),
        (["dataset.files.labels={a: {label: 1, size: 3}, b: 2}", "method=gt_sam"], "an organ has label, k, and"),
        (["dataset.files.labels={a: {label: 1, k: 17}, b: 2}", "method=gt_sam"], "a: dataset.k=17 is out of range"),
        (["dataset.files.labels=7", "method=gt_sam"], "takes names with a label each"),
        (["dataset.files.labels=[a,b]", "dataset.files.label=3", "method=gt_sam"], "one organ, or several"),
        (["dataset.files.labels=[a,b]", "seeds=[1,2]", "dataset.sample=3", "method=gt_sam"], "several seeds of one"),
        (["dataset.files.labels=[a,b]", "task=tune", "vdt=brain"], "task=tune takes one organ"),
        (["dataset=xray", "dataset.files.labels=[a,b]", "method=gt_sam"], "a: dataset.files.label=a is no number"),
    ],
)
def test_what_cannot_be_meant_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*overrides)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ['["one for all"]', "{", '{"liver": []}'])
def test_a_file_without_a_text_for_each_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ConfigError, match=r"no text of its own|is not JSON|has no sentences"):
        config("dataset.files.labels=[liver,spleen]", f"vdt.file={tmp_path / 't.json'}")
