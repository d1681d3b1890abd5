"""The sentences that CLIP reads: there, and short enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from salip_exp.cascade.sentences import read_sentences
from salip_exp.checking.finding import Finding, failure, fine
from salip_exp.checking.weights import networks_of
from salip_exp.config import Config
from salip_exp.errors import ConfigError, EnvironmentFault, SalipError

AREA = "text"
TOKENS = 77
"""What every CLIP of the registry reads, start and end included."""


def text_findings(config: Config) -> Iterator[Finding]:
    """A file that cannot be read or is of another shape, and sentences that CLIP would have to cut."""
    if "clip" not in networks_of(config.method):
        return
    try:
        sentences = read_sentences(config.vdt)
        for number, sentence in enumerate(sentences, 1):
            _require_short(sentence, number)
    except SalipError as error:
        yield failure(AREA, error)
        return
    yield fine(AREA, f"vdt={config.vdt.name}: {len(sentences)} sentences, each within the {TOKENS} tokens of CLIP")


def _require_short(sentence: str, number: int) -> None:
    if len(sentence.encode()) + 2 <= TOKENS:  # a token is a byte or more
        return
    tokens = len(_tokenizer()(sentence)) + 2
    if tokens > TOKENS:
        raise ConfigError(
            f"sentence {number} ('{sentence[:60]}...') has {tokens} tokens and CLIP reads {TOKENS}: shorten or split it"
        )


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
