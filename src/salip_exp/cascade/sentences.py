"""The visually descriptive sentences of an organ, from the configuration or from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from salip_exp._files import from_json, read_small
from salip_exp.config import TextConfig, VdtConfig
from salip_exp.errors import ConfigError

PAIRED = ("lungs",)
"""Sets of the package that describe one of a pair that images hold both of."""
MOST = 1000
"""Sentences of one set, and of all of vdt.parts together: all go through CLIP in one forward."""
LONGEST = 10_000
"""Characters of one sentence; CLIP reads 77 tokens, which are some 400 characters."""


def read_sentences(config: VdtConfig) -> list[str]:
    """All sentences that CLIP reads: of the one set, or of every part in turn; errors as in `read_texts`."""
    return [sentence for text in read_texts(config) for sentence in text]


def read_texts(config: VdtConfig) -> list[list[str]]:
    """The sentences by set: one set for all ROIs of an image, or one for each of `vdt.parts`, in their order.

    A set is given as `sentences`, or as `file`: text, one a line, or JSON as the authors' files. JSON is a list of
    sentences, or lists of sentences by class; of several classes, the one called like the set.

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


def _read_set(config: TextConfig, key: str) -> list[str]:
    if config.file is not None and config.sentences:
        raise ConfigError(f"{key}.sentences and {key}.file exclude each other: give one of them.")
    if config.file is None:
        return _checked(list(config.sentences), f"{key}.sentences")
    path = Path(config.file).expanduser()
    if path.suffix.lower() not in (".txt", ".json"):
        raise ConfigError(f"{key}.file={path} is of an unknown kind: use .txt (one sentence a line) or .json.")
    text = _read(path)
    if path.suffix.lower() == ".txt":
        return _checked([line for line in text.splitlines() if line.strip()], str(path))
    return _checked(_of_json(text, path, config.name), str(path))


def _read(path: Path) -> str:
    try:
        return read_small(path).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"vdt.file={path} cannot be read ({error.strerror}): give an existing file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"vdt.file={path} is not UTF-8 text: save it as UTF-8.") from error
    except ValueError as error:
        raise ConfigError(f"vdt.file={path} cannot be used: {error}; give sentences, one a line.") from error


def _of_json(text: str, path: Path, name: str) -> Any:
    try:
        content = from_json(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"vdt.file={path} is not JSON (line {error.lineno}: {error.msg}): correct it.") from error
    except ValueError as error:
        raise ConfigError(f"vdt.file={path} is not JSON ({error}): correct it.") from error
    if not isinstance(content, dict):
        return content
    if len(content) > 1 and name not in content:
        classes = ", ".join(content)
        raise ConfigError(f"vdt.file={path} holds several classes ({classes}): set vdt.name to one of them.")
    return content[name] if name in content else next(iter(content.values()), [])


def _checked(sentences: Any, where: str) -> list[str]:
    if not isinstance(sentences, list) or not all(isinstance(each, str) for each in sentences):
        raise ConfigError(f"{where} must be a list of sentences, or in JSON also lists of sentences by class.")
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
    return stripped
