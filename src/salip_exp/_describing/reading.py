"""From what a language model writes to sentences, and what is wrong with one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from json import JSONDecodeError, JSONDecoder
from typing import Any

from salip_exp._checks.tokens import counting_of
from salip_exp.config import Config
from salip_exp.networks._hub import located
from salip_exp.networks.registry import entry_of

_THOUGHT = r"(?:think|thinking|thoughts?|reasoning)\b[^<>]{0,99}>"
_THINKS = re.compile(f"<{_THOUGHT}", re.IGNORECASE)
_THOUGHT_IT = re.compile(rf"</{_THOUGHT}|<\|message\|>", re.IGNORECASE)
_BRACKET = re.compile(r"[\[{]")
_MARK = re.compile(r"^(?:\d+[.)]|[-*•])\s+")
"""What stands in front of an item of a list."""
_ORGANS = {
    "adrenal gland": "adrenals?",
    "aorta": "aortas?|aortic",
    "bladder": "(?<!gall )bladders?",
    "bowel": "bowels?|intestin(?:es?|al)|colon|duodenum",
    "brain": "brains?|cerebral|cerebell(?:um|ar)",
    "breast": "breasts?",
    "eye": "eyes?|eyeballs?|ocular",
    "gallbladder": "gall ?bladders?",
    "heart": "hearts?|cardiac",
    "kidney": "kidneys?|renal",
    "liver": "livers?|hepatic",
    "lung": "lungs?|pulmonary",
    "oesophagus": "o?esophag(?:us|eal)",
    "ovary": "ovar(?:y|ies|ian)",
    "pancreas": "pancreas|pancreatic",
    "placenta": "placentas?|placental",
    "prostate": "prostates?|prostatic",
    "rectum": "rectums?|rectal",
    "spinal cord": "spinal cords?",
    "spleen": "spleens?|splenic",
    "stomach": "stomachs?|gastric",
    "testis": "test[ie]s|testic(?:le|les|ular)",
    "thymus": "thymus|thymic",
    "thyroid": "thyroids?",
    "trachea": "tracheas?|tracheal",
    "uterus": "uterus|uterine|womb",
}
"""Organs, and the words that name them."""
_INSIDE = {"brain": "head|skull|crani"}
"""Organs that lie in what is asked for, and may be named."""
_TRIED = 100
"""Brackets of an answer that JSON is looked for behind."""
_WORDS, _LETTERS = 3, 1000
"""Of the shortest and the longest sentence; the tokens of what is longer are not counted."""


def sentences_in(text: str) -> list[str] | None:
    """The sentences of an answer: of the JSON in it, which may stand in other text, the last that is called so.

    Where nothing is called so, the longest list of texts. What stands before is a draft, or the form asked for.

    Returns:
        None where there is no such JSON.
    """
    values = list(islice(_values(_said(text)), _TRIED))
    called = filter(None, (_texts(each.get("sentences")) for each in reversed(values) if isinstance(each, dict)))
    return next(called, None) or max(filter(None, map(_texts, reversed(values))), key=len, default=None)


def _said(text: str) -> str:
    """An answer without what was thought aloud, which some prompts begin, and some models do not end."""
    said = text[max((each.end() for each in _THOUGHT_IT.finditer(text)), default=0) :]
    return _THINKS.split(said, maxsplit=1)[0]


def _values(text: str) -> Iterator[Any]:
    """What is JSON in a text, from each bracket on that begins one; None from one that does not."""
    start, decoder = 0, JSONDecoder()
    while (found := _BRACKET.search(text, start)) is not None:
        try:
            value, start = decoder.raw_decode(text, found.start())
            yield value
        except (JSONDecodeError, RecursionError):
            start = found.end()
            yield None


def _texts(value: Any) -> list[str] | None:
    """A list of texts, or the longest in an object."""
    if isinstance(value, dict):
        lists = (each for each in value.values() if isinstance(each, list))
        return max(filter(None, map(_texts, lists)), key=len, default=None)
    if isinstance(value, list) and all(isinstance(each, str) for each in value) and re.search(r"\w", " ".join(value)):
        return [_MARK.sub("", " ".join(each.split())) for each in value]
    return None


def fitting(config: Config) -> Callable[[str], bool]:
    """What says whether the chosen CLIP reads a sentence whole; the files of one of a library are fetched for it.

    Raises:
        WeightsError, EnvironmentFault, ConfigError: its tokenizer cannot be had.
    """
    located(entry_of(config, "clip"), config.download)
    counting = counting_of(config)
    assert counting is not None  # its files are there
    return counting.fits


def wrong(sentence: str, have: Sequence[str], asked: str, fits: Callable[[str], bool]) -> str | None:
    """What is wrong with a sentence; None where it can be used.

    Args:
        have: sentences that there are.
        asked: the organ and the images, whose own names may stand in it.
        fits: whether CLIP reads it whole.
    """
    if len(sentence.split()) < _WORDS or not sentence.isprintable():
        return "is no sentence"
    if len(sentence) > _LETTERS or not fits(sentence):
        return "has more tokens than CLIP reads"
    if _plain(sentence) in map(_plain, have):
        return "is there already"
    other = next(_others(sentence, asked), None)
    return other and f"names another organ, the {other}"


def _plain(sentence: str) -> list[str]:
    """What two sentences are compared by: their words."""
    return re.findall(r"\w+", sentence.casefold())


def _others(sentence: str, asked: str) -> Iterator[str]:
    """The organs that a sentence names beside that which is asked for; a heart-shaped one is none."""
    for organ, names in _ORGANS.items():
        named = re.search(rf"\b(?:{names})\b(?!-(?:shaped|like))", sentence, re.IGNORECASE)
        own = rf"\b(?:{names}|{_INSIDE.get(organ, names)})"
        if named and not re.search(own, asked, re.IGNORECASE):
            yield organ
