"""The visually descriptive sentences of an organ, from the configuration or from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from salip_exp.config import VdtConfig
from salip_exp.errors import ConfigError


def read_sentences(config: VdtConfig) -> list[str]:
    """The sentences of `vdt.sentences`, or of `vdt.file`: text, one a line, or JSON as the authors' files.

    JSON is a list of sentences, or lists of sentences by class; of several classes, the one called `vdt.name`.

    Raises:
        ConfigError: both or neither is given, the file is absent or of another shape, a sentence is empty.
    """
    if config.file is not None and config.sentences:
        raise ConfigError("vdt.sentences and vdt.file exclude each other: give one of them.")
    if config.file is None:
        return _checked(list(config.sentences), "vdt.sentences")
    path = Path(config.file).expanduser()
    if path.suffix.lower() not in (".txt", ".json"):
        raise ConfigError(f"vdt.file={path} is of an unknown kind: use .txt (one sentence a line) or .json.")
    text = _read(path)
    if path.suffix.lower() == ".txt":
        return _checked([line for line in text.splitlines() if line.strip()], str(path))
    return _checked(_of_json(text, path, config.name), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"vdt.file={path} cannot be read ({error.strerror}): give an existing file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"vdt.file={path} is not UTF-8 text: save it as UTF-8.") from error


def _of_json(text: str, path: Path, name: str) -> Any:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"vdt.file={path} is not JSON (line {error.lineno}: {error.msg}): correct it.") from error
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
    if not stripped:
        raise ConfigError(f"{where} has no sentences: write at least one that describes how the organ looks.")
    if not all(stripped):
        raise ConfigError(f"{where} has an empty sentence (number {stripped.index('') + 1}): remove it.")
    return stripped
