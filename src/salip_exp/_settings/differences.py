"""In which keys, and in which sentences, a run differs from the default of its data set or from another run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from salip_exp._files import YAML, from_json, from_yaml, read_file, read_small
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import FREE, File
from salip_exp._settings.validate import schema, typed
from salip_exp.config import Config
from salip_exp.errors import ConfigError, DataError

_UNSAID = {"task", *FREE}
"""Keys that change no number of a run."""
_GROUPS = ("preset", "sam.name", "clip.name", "vdt.name", "confidence.name", "repair.name")
"""Keys that name the option of a group."""
NONE = "–"
"""In the place of what one of two does not have."""
_LONG, _MANY = 60, 8
"""Letters of a value in a line, and values in it."""
SENTENCE = "sentence"
"""In the place of a key, for a sentence that one of two does not have."""


@dataclass(frozen=True)
class Told:
    """What a run folder tells of its configuration.

    Attributes:
        settings: the value of every key that can change a number, as it would be typed.
        sentences: that CLIP read; empty for a method that reads none.
    """

    settings: Mapping[str, str]
    sentences: Sequence[str]


def told_by(folder: Path) -> Told | None:
    """What a run folder tells; None where its configuration cannot be read."""
    own = own_config(folder)
    if own is None:
        return None
    try:
        sentences = [str(each) for each in from_json(read_small(folder / File.manifest))["sentences"]]
    except (OSError, ValueError, LookupError, TypeError):
        sentences = []
    return Told({key: _said(key, own) for key in own if key not in _UNSAID and not _is_text(key)}, sentences)


def _is_text(key: str) -> bool:
    """Whether a key holds sentences, which are told one by one."""
    return key.startswith("vdt.") and key.endswith(".sentences")


def between(one: Told, other: Told) -> list[tuple[str, str, str]]:
    """Every key in which two runs differ, with the value of each, and every sentence that only one of them read.

    Sentences count where both read some: that a method reads none is what the method is.
    """
    keys = {**one.settings, **other.settings}
    settings = [(key, one.settings.get(key, NONE), other.settings.get(key, NONE)) for key in keys]
    found = [each for each in settings if each[1] != each[2]]
    if one.sentences and other.sentences:
        found += [(SENTENCE, each, NONE) for each in one.sentences if each not in other.sentences]
        found += [(SENTENCE, NONE, each) for each in other.sentences if each not in one.sentences]
    return found


def differing(runs: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Every key in which any of several runs differ, and `sentences` where their texts do, with the value of each run.

    Args:
        runs: folders by name; one whose configuration cannot be read is left out.
    """
    told = {name: found for name, folder in runs.items() if (found := told_by(folder)) is not None}
    keys = dict.fromkeys(key for each in told.values() for key in each.settings)
    by_key = {key: {name: each.settings.get(key, NONE) for name, each in told.items()} for key in keys}
    texts = {name: _said("", {"": list(each.sentences)}) for name, each in told.items() if each.sentences}
    return {key: values for key, values in {**by_key, "sentences": texts}.items() if len({*values.values()}) > 1}


def lines_of(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each key of `differing`: values in the order of the runs, long ones cut, those of many left out."""
    lines = []
    for key, values in found.items():
        first = [cut(value) for value in [*values.values()][:_MANY]]
        lines.append(f"{key}: {', '.join(first)}{', ...' if len(values) > _MANY else ''}")
    return lines


def cut(value: str) -> str:
    """A value as a line can hold it."""
    return value if len(value) <= _LONG else f"{value[:_LONG]}..."


def difference(config: Path) -> list[tuple[str, str, str]] | None:
    """Every key in which a `config.yaml` differs from `dataset=NAME` alone, with the default's value and its own.

    Returns:
        None where the file cannot be read or names no data set that can be composed.
    """
    own = own_config(config.parent)
    default = None if own is None else _default(str(own.get("dataset.name")))
    return None if own is None or default is None else _differing(own, default)


def config_of(folder: Path) -> Config:
    """The configuration of a run folder.

    Raises:
        DataError: it cannot be read, or has keys that this version does not know.
    """
    try:
        values = from_yaml(read_file(folder / File.config, YAML))
        return cast(Config, OmegaConf.to_object(OmegaConf.merge(schema(), values)))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise DataError(f"{folder / File.config} cannot be read ({error}): run again") from error


def own_config(folder: Path) -> dict[str, Any] | None:
    """Every key of a run folder's `config.yaml` with its value; None where it cannot be read."""
    try:
        return dict(_flat(from_yaml(read_file(folder / File.config, YAML)), ""))
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return None


def changes(config: Config) -> dict[str, Any]:
    """Every key in which a configuration differs from `dataset=NAME` alone, with its value; all keys where the data set
    cannot be composed.
    """
    own, default = flat_config(config), _default(config.dataset.name) or {}
    return {key: value for key, value in own.items() if key not in default or default[key] != value}


def flat_config(config: Config) -> dict[str, Any]:
    """Every key of a configuration with its value, as `config.yaml` will have them."""
    return dict(_flat(OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True), ""))


def beyond(own: Mapping[str, Any]) -> list[tuple[str, str, str]] | None:
    """As `difference`, but what an option of a group brings with it is told by the option alone.

    `sam.name` is all that is told of `sam=vit_b`, whatever else its file sets; what was changed after it is told, too.

    Args:
        own: every key with its value.
    """
    name = str(own.get("dataset.name"))
    default = _default(name)
    if default is None:
        return None
    chosen = {key: option for key in _GROUPS if (option := own.get(key)) != default.get(key)}
    known = [f"{key.split('.')[0]}={option}" for key, option in chosen.items()]
    options = tuple(each for each in known if _default(name, (each,)) is not None)
    found = _differing(own, _default(name, options) or default)
    groups = _differing({key: own.get(key) for key in chosen}, {key: default.get(key) for key in chosen})
    return [*groups, *(each for each in found if each[0] not in chosen)]


def _differing(own: Mapping[str, Any], default: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    keys = [key for key in {**default, **own} if key not in _UNSAID]
    differing = [key for key in keys if default.get(key) != own.get(key)]
    return [(key, _said(key, default), _said(key, own)) for key in differing]


@cache
def _default(dataset: str, options: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The default of a data set by key; that of one's own folder lacks the text, and is no run by itself.

    Args:
        dataset: its name.
        options: of groups, beside it.

    Returns:
        None where it cannot be composed.
    """
    try:
        composed = compose([f"dataset={dataset}", *options])
    except ConfigError:
        return None
    try:
        config = OmegaConf.structured(typed(composed))
    except ConfigError:
        config = OmegaConf.merge(schema(), composed)
    return dict(_flat(OmegaConf.to_container(config, resolve=True, enum_to_str=True), ""))


def _flat(values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _said(key: str, values: Mapping[str, Any]) -> str:
    if key not in values:
        return NONE
    text: str = yaml.safe_dump(values[key], default_flow_style=True, width=1e9)
    return text.split("\n...")[0].strip()
