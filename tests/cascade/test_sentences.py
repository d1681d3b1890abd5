"""Sentences come from the configuration or from a file; anything else is one clear sentence."""

from __future__ import annotations

import json

import pytest

from salip_exp.cascade.sentences import read_sentences, read_texts
from salip_exp.config import TextConfig, VdtConfig
from salip_exp.errors import ConfigError


def vdt(file=None, sentences=(), name="lungs"):
    return VdtConfig(name=name, sentences=list(sentences), file=None if file is None else str(file))


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_list_is_taken_as_it_is():
    assert read_sentences(vdt(sentences=[" a ", "b"])) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.txt", "a\n\nb\n"),
        ("s.txt", "\ufeffa\r\nb"),
        ("s.json", ["a", "b"]),
        ("s.JSON", {"brain": ["a", "b"]}),
        ("s.json", {"heart": ["c"], "lungs": ["a", "b"]}),
        ("fetal_head.json", '\n\n{\n"Lungs":\n\n    ["a",\n    "b "]\n\n}\n  \n'),  # the form of the authors' files
        ("s.yaml", "- a\n- b\n"),
        ("s.yml", "\ufeffheart: [c]\nlungs: [a, b]\n"),
        ("s.yaml", "# a command\nname: liver\nsentences: [a, b]\nfile: null\n"),  # the form of conf/vdt
        ("s.yaml", "name: liver\nsentences: [a, b]\ndescribed: {model: x, exchanges: [{answer: y}]}\n"),
        ("s.json", {"name": "liver", "sentences": ["a", "b"]}),
    ],
)
def test_files_are_read(tmp_path, name, content):
    assert read_sentences(vdt(write(tmp_path, name, content))) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.txt", "\n \n", "no sentences"),
        ("s.json", [], "no sentences"),
        ("s.json", {}, "no sentences"),
        ("s.json", ["a", "  "], r"empty sentence \(number 2\)"),
        ("s.json", "{", "not JSON"),
        ("s.json", ["a", 3], "list of sentences"),
        ("s.json", {"lungs": "a"}, "list of sentences"),
        ("s.json", '"a"', "list of sentences"),
        ("s.json", {"heart": ["a"], "liver": ["b"]}, r"heart, liver.*vdt.name"),
        ("s.csv", "a", "unknown kind.*yaml"),
        ("s.txt", '["a", "b"]', "call it .json"),
        ("s.txt", "a\nb\x00c\n", r"control characters \(number 2\)"),
        ("s.json", ["a", "b \ud800"], r"control characters \(number 2\)"),
        ("s.yaml", "- a\n- the liver: a wedge\n", "number 2 .*quotes"),
        ("s.yaml", "- a\n- yes\n", "number 2"),
        ("s.yaml", "a: [b\n", "not YAML .*line"),
        ("s.yaml", "", "list of sentences"),
        ("s.yaml", "- !!python/object/apply:os.getcwd []\n", "not YAML"),
        ("s.yaml", "sentences: [a]\nparts: {}\n", "parts, which is not read"),
        ("s.yaml", "sentences: [a]\nfile: b.txt\n", "file, which is not read"),
        ("s.yaml", "heart: [a]\nliver: [b]\n", r"heart, liver.*vdt.name"),
    ],
)
@pytest.mark.fault("C4")
def test_wrong_files_are_explained(tmp_path, name, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_sentences(vdt(write(tmp_path, name, content)))
    assert "\n" not in str(caught.value)


@pytest.mark.fault("C4")
def test_absent_and_unreadable_files_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sentences(vdt(tmp_path / "absent.txt"))
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sentences(vdt(tmp_path / "folder.txt"))
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        read_sentences(vdt(tmp_path / "latin.txt"))


@pytest.mark.fault("C4")
def test_both_or_neither_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="exclude each other"):
        read_sentences(vdt(write(tmp_path, "s.txt", "a"), ["b"]))
    with pytest.raises(ConfigError, match="no sentences"):
        read_sentences(vdt())


def test_separate_sets_are_read_in_their_order_each_from_where_it_is(tmp_path):
    file = str(write(tmp_path, "s.json", {"heart": ["c"], "left_lung": ["d", "e"]}))
    parts = {"right": TextConfig("right_lung", ["a", "b"]), "left": TextConfig("left_lung", file=file)}
    config = VdtConfig("both", parts=parts)
    assert read_texts(config) == [["a", "b"], ["d", "e"]]
    assert read_sentences(config) == ["a", "b", "d", "e"]
    assert read_texts(vdt(sentences=["a", "b"])) == [["a", "b"]]


def test_what_is_wrong_with_one_of_several_sets_is_said_of_it():
    with pytest.raises(ConfigError, match=r"vdt\.parts\.left\.sentences has no sentences"):
        read_texts(VdtConfig("both", parts={"right": TextConfig("r", ["a"]), "left": TextConfig("l")}))
