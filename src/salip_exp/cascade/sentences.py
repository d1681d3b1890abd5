"""The visually descriptive sentences of an organ, from the configuration or from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import yaml

from salip_exp._files import YAML, from_json, from_yaml, read_file, read_small
from salip_exp.config import Config, Doubt, TextConfig, VdtConfig
from salip_exp.errors import ConfigError

PAIRED = ("lungs",)
"""Sets of the package that describe one of a pair that images hold both of."""
MOST = 1000
"""Sentences of one set, and of all of vdt.parts together: all go through CLIP in one forward."""
LONGEST = 10_000
"""Characters of one sentence; CLIP reads 77 tokens, which are some 400 characters."""
_STRANGE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_BESIDE = {"name", "file", "described"}
"""Keys that a VDT file has beside its sentences: what they are called, and how a language model was asked for them."""


def read_sentences(config: VdtConfig) -> list[str]:
    """All sentences that CLIP reads: of the one set, or of every part in turn; errors as in `read_texts`."""
    return [sentence for text in read_texts(config) for sentence in text]


def read_texts(config: VdtConfig) -> list[list[str]]:
    """The sentences by set: one set for all ROIs of an image, or one for each of `vdt.parts`, in their order.

    A set is given as `sentences`, or as `file`; of a file with several classes, that called like the set is taken.

    Raises:
        ConfigError: both or neither is given, the file is absent or of another shape, a sentence is empty.
    """
    if not config.parts:
        return [_read_set(config, "vdt")]
    texts = [_read_set(part, f"vdt.parts.{name}") for name, part in config.parts.items()]
    if sum(map(len, texts)) > MOST:
        raise ConfigError(
            f"vdt.parts have {sum(map(len, texts)):,} sentences in all and CLIP is given at most {MOST:,}: take "
            "the best."
        )
    return texts


def contrast_sentences(config: Config, asked: Sequence[str]) -> list[str]:
    """Sentences of something else than what is asked for (`confidence.contrast`); none where no signal needs them.

    One is left out whose name stands in that of the organ or of its text, or in half of the sentences: it is no other.

    Args:
        config: of the run.
        asked: the sentences that are asked.
    """
    if Doubt.contrast not in config.confidence.signals:
        return []
    names = " ".join([config.dataset.roi, config.vdt.name, *config.vdt.parts]).lower()

    def is_asked(name: str) -> bool:
        return name in names or 2 * sum(name in each.lower() for each in asked) >= len(asked)

    return [text for name, text in config.confidence.contrast.items() if not is_asked(name.lower())]


def sets_in(file: str) -> dict[str, Any]:
    """The sets of sentences in a file, by class; a file that names none has one, called "".

    Text has a sentence a line. YAML and JSON are a list of sentences, lists of sentences by class as in the authors'
    files, or a VDT file as `conf/vdt` and `task=describe` have them. The lists are not looked at yet.

    Raises:
        ConfigError: it cannot be read, or is of another kind or shape.
    """
    path = Path(file).expanduser()
    read = _KINDS.get(path.suffix.lower())
    if read is None:
        raise ConfigError(
            f"vdt.file={path} is of an unknown kind: use .txt (one sentence a line), .json or .yaml (a list of "
            "sentences, or lists by class)"
        )
    try:
        return _by_class(read(path), path)
    except OSError as error:
        raise ConfigError(f"vdt.file={path} cannot be read ({error.strerror}): give an existing file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"vdt.file={path} is not UTF-8 text: save it as UTF-8.") from error
    except ValueError as error:
        raise ConfigError(f"vdt.file={path} cannot be used: {error}; give sentences, one a line.") from error


def _text(path: Path) -> list[str]:
    text = read_small(path).decode("utf-8-sig")
    if text.lstrip()[:1] in ("[", "{"):
        raise ValueError(f"it is JSON and called {path.suffix}: call it .json")
    return [line for line in text.splitlines() if line.strip()]


def _json(path: Path) -> Any:
    text = read_small(path).decode("utf-8-sig")
    try:
        return from_json(text)
    except ValueError as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, JSONDecodeError) else error
        raise ConfigError(f"vdt.file={path} is not JSON ({where}): correct it.") from error


def _yaml(path: Path) -> Any:
    try:
        return from_yaml(read_file(path, YAML))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else str(error)
        raise ConfigError(f"vdt.file={path} is not YAML ({where}): correct it.") from error


_KINDS: Mapping[str, Callable[[Path], Any]] = {".txt": _text, ".json": _json, ".yaml": _yaml, ".yml": _yaml}


def _by_class(content: Any, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        return {"": content}
    if "sentences" not in content:
        return {str(name): sentences for name, sentences in content.items()}
    odd = [str(name) for name in content if name not in _BESIDE and name != "sentences"]
    odd += ["file"] if content.get("file") is not None else []
    if odd:
        raise ConfigError(f"vdt.file={path} has sentences, and beside them {odd[0]}, which is not read: remove it.")
    return {str(content.get("name", "")): content["sentences"]}


def _read_set(config: TextConfig, key: str) -> list[str]:
    if config.file is not None and config.sentences:
        raise ConfigError(f"{key}.sentences and {key}.file exclude each other: give one of them.")
    if config.file is None:
        return _checked(list(config.sentences), f"{key}.sentences")
    found = sets_in(config.file)
    if len(found) > 1 and config.name not in found:
        raise ConfigError(
            f"vdt.file={config.file} holds several classes ({', '.join(found)}): set vdt.name to one of them."
        )
    sentences = found[config.name] if config.name in found else next(iter(found.values()), [])
    return _checked(sentences, str(Path(config.file).expanduser()))


def _checked(sentences: Any, where: str) -> list[str]:
    if not isinstance(sentences, list):
        raise ConfigError(f"{where} must be a list of sentences, or in YAML and JSON also lists of sentences by class.")
    odd = next((number for number, each in enumerate(sentences, 1) if not isinstance(each, str)), None)
    if odd is not None:
        raise ConfigError(
            f"{where} must be a list of sentences, and number {odd} is none: in YAML put quotes around one with a colon"
        )
    stripped = [each.strip() for each in sentences]
    if len(stripped) > MOST:
        raise ConfigError(f"{where} has {len(stripped)} sentences and CLIP is given at most {MOST}: take the best.")
    if not stripped:
        raise ConfigError(f"{where} has no sentences: write at least one that describes how the organ looks.")
    long = next((number for number, each in enumerate(stripped, 1) if len(each) > LONGEST), None)
    if long is not None:
        raise ConfigError(
            f"{where} has a sentence of {len(stripped[long - 1]):,} characters (number {long}) and the limit is "
            f"{LONGEST:,}: shorten it."
        )
    if not all(stripped):
        raise ConfigError(f"{where} has an empty sentence (number {stripped.index('') + 1}): remove it.")
    strange = next((number for number, each in enumerate(stripped, 1) if _STRANGE.search(each)), None)
    if strange is not None:
        raise ConfigError(f"{where} has a sentence with control characters (number {strange}): it is no text.")
    return stripped
