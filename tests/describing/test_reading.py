"""Answers of all shapes become sentences, and of each it is said what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._describing.reading import fitting, sentences_in
from salip_exp._describing.reading import wrong as wrong_of
from salip_exp._settings.compose import compose
from salip_exp.config import ClipConfig, Config
from tests.networks.folders import open_clip_folder

FITS = fitting(Config(clip=ClipConfig("tiny")))


def wrong(sentence: str, have: list[str], asked: str) -> str | None:
    return wrong_of(sentence, have, asked, FITS)


TWO = ["A wide smooth wedge.", "A grey even region."]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"sentences": TWO}),
        json.dumps(TWO),
        json.dumps({"liver": TWO, "note": "none"}),
        json.dumps({"sentences": [f" {number})  {each}" for number, each in enumerate(TWO, 1)]}).replace(" 1", "1"),
        f'The form is {{"sentences": ["..."]}}. So: {json.dumps({"sentences": TWO})} [sic]',
        f"```json\n{json.dumps({'sentences': TWO}, indent=1)}\n```",
        f"<think>{json.dumps(['a b c'] * 3)}</think>{json.dumps(TWO)}",
        f"<Thinking>{json.dumps(['a b c'] * 3)}</Thinking>{json.dumps(TWO)}",
        f"Maybe {json.dumps({'sentences': ['a b c'] * 3})}.</think>{json.dumps({'sentences': TWO})}",
        f"<|channel|>analysis<|message|>{json.dumps(['a b c'] * 3)}<|end|><|channel|>final<|message|>{json.dumps(TWO)}",
        f"A draft: {json.dumps({'sentences': ['a b c'] * 3})}. At last: {json.dumps({'sentences': TWO})}",
        f'{json.dumps({"sentences": TWO})} is of the form {{"sentences": ["...", "..."]}}',
        json.dumps({"notes": ["a b c"] * 3, "sentences": TWO}),
        json.dumps({"sentences": ["A wide\n smooth wedge.", "- A grey\u00a0even region."]}),
    ],
)
def test_json_is_found_wherever_it_stands(text: str) -> None:
    assert sentences_in(text) == TWO


@pytest.mark.parametrize(
    "text",
    [
        *("", "A wedge.", "[1, 2]", '{"sentences": "A wedge."}', '{"sentences": []}', '["a', '["...", "..."]'),
        f"<think>Maybe {json.dumps(TWO)}, or",
    ],
)
def test_what_is_no_list_of_texts_is_none(text: str) -> None:
    assert sentences_in(text) is None


def test_brackets_without_end_take_no_time() -> None:
    assert sentences_in("[" * 50_000) is None
    assert sentences_in('{"a":' * 10_000) is None


@given(st.text(max_size=200))
def test_no_answer_is_a_fault(text: str) -> None:
    found = sentences_in(text)
    assert found is None or all(each == " ".join(each.split()) for each in found)
    assert isinstance(wrong(text, [], "liver"), str | None)


@pytest.mark.parametrize(
    ("sentence", "asked", "other"),
    [
        ("A wedge beside the right kidney.", "liver", "kidney"),
        ("A wedge that Renal tissue touches.", "liver abdominal CT", "kidney"),
        ("A smooth kidney-shaped region.", "liver", None),
        ("The hepatic surface is smooth.", "liver", None),
        ("A dark oval, full of urine, the bladder.", "gallbladder", "bladder"),
        ("A pear, the gall bladder, in grey.", "gallbladder", None),
        ("A bright rim around the dark brain.", "fetal head ultrasound", None),
        ("A region beside the heart, in grey.", "left ventricle cardiac MRI", None),
        ("An oval behind the testes.", "rectum pelvic MRI", "testis"),
        ("A disc within the eye.", "brain", "eye"),
        ("A delivery of grey, reheated.", "spleen", None),
    ],
)
def test_other_organs_are_known_by_their_names(sentence: str, asked: str, other: str | None) -> None:
    assert wrong(sentence, [], asked) == (other and f"names another organ, the {other}")


def test_sentences_of_the_package_are_short_enough() -> None:
    sentences = compose(["vdt=fetal_head"]).vdt.sentences
    assert [each for each in sentences if wrong(each, [], "fetal head, uterus, placenta")] == []
    assert wrong(sentences[0], sentences, "fetal head") == "is there already"


@pytest.mark.ci
def test_a_clip_of_a_library_counts_by_its_own_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_clip_folder(tmp_path / "net", "bert", monkeypatch)
    fits = fitting(Config(clip=ClipConfig("biomedclip", weights=str(folder))))
    assert fits("a big bright oval")
    assert not fits("a big bright oval " * 6)
    assert wrong_of("a big bright oval " * 6, [], "head", fits) == "has more tokens than CLIP reads"
