"""In which keys a run differs from the default of its data set."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from salip_exp._files import YAML, bounded_yaml, read_file
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import FREE
from salip_exp._settings.validate import typed
from salip_exp.config import Config
from salip_exp.errors import ConfigError

_UNSAID = {"task", *FREE}

"""Keys that change no number of a run."""


def difference(config: Path) -> list[tuple[str, str, str]] | None:
    """Every key in which a `config.yaml` differs from `dataset=NAME` alone, with the default's value and its own.

    Returns:
        None where the file cannot be read or names no data set that can be composed.
    """
    try:
        own = dict(_flat(yaml.safe_load(bounded_yaml(read_file(config, YAML))), ""))
        default = _default(str(own["dataset.name"]))
    except (OSError, ValueError, KeyError, AttributeError, yaml.YAMLError, ConfigError):
        return None
    keys = [key for key in {**default, **own} if key not in _UNSAID]
    differing = [key for key in keys if default.get(key) != own.get(key)]
    return [(key, _said(key, default), _said(key, own)) for key in differing]


@cache
def _default(dataset: str) -> dict[str, Any]:
    """The default of a data set by key; that of one's own folder lacks the text, and is no run by itself."""
    composed = compose([f"dataset={dataset}"])
    try:
        config = OmegaConf.structured(typed(composed))
    except ConfigError:
        config = OmegaConf.merge(OmegaConf.structured(Config), composed)
    return dict(_flat(OmegaConf.to_container(config, resolve=True, enum_to_str=True), ""))


def _flat(values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _said(key: str, values: dict[str, Any]) -> str:
    return yaml.safe_dump(values[key], default_flow_style=True).split("\n...")[0].strip() if key in values else "–"
