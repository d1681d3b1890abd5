"""How many tokens of the chosen CLIP a sentence has, told without its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from salip_exp.config import Config
from salip_exp.errors import EnvironmentFault, WeightsError
from salip_exp.networks.registry import entry_of

_TOKENS = 77
"""What OpenAI's CLIPs and the embedded one read, start and end included."""

_AROUND = 4
"""Tokens that tokenizers put around a sentence, at most."""


@dataclass(frozen=True)
class Counting:
    """What counts the tokens of a sentence.

    Attributes:
        who: reads it, as an override.
        count: of tokens, start and end included.
        most: tokens that the network reads.
    """

    who: str
    count: Callable[[str], int]
    most: int

    def fits(self, sentence: str) -> bool:
        """Whether the network reads all of a sentence."""
        short = sentence.isascii() and len(sentence) + _AROUND <= self.most  # a token is a letter or more
        return short or self.count(sentence) <= self.most


def counting_of(config: Config) -> Counting | None:
    """What counts as the chosen CLIP does; None where its files are yet to be fetched.

    Raises:
        ConfigError: an unknown name.
        WeightsError: files of the user's are absent, or do not hold together.
        EnvironmentFault: its library is not installed.
    """
    entry = entry_of(config, "clip")
    if not entry.folder:
        return Counting(entry.option, _of_openai, _TOKENS)
    from salip_exp.networks.clip import read_words

    try:
        words = read_words(entry)
    except WeightsError:
        if config.download and not entry.users:
            return None
        raise
    return Counting(entry.option, words.count, words.context_length)


def _of_openai(sentence: str) -> int:
    return len(_tokenizer()(sentence)) + 2


@cache
def _tokenizer() -> Callable[[str], list[int]]:
    """CLIP's own tokenizer, loaded beside its package: the package as a whole imports torch, which takes seconds."""
    package = find_spec("clip")
    if package is None or package.origin is None:
        raise EnvironmentFault("the package clip is not installed: pip install openai-clip 'setuptools<81'")
    spec = spec_from_file_location("salip_exp_clip_tokenizer", Path(package.origin).with_name("simple_tokenizer.py"))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    encode: Callable[[str], list[int]] = module.SimpleTokenizer().encode
    return encode
