"""How a run's configuration differs from the default of its data set."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from salip_exp.errors import ConfigError
from salip_exp.settings.compose import compose
from salip_exp.settings.folders import FREE
from salip_exp.settings.validate import typed

UNSAID = {"task", *FREE}
"""Keys that change no number of a run."""


def difference(config: Path) -> list[tuple[str, str, str]] | None:
    """Every key in which a `config.yaml` differs from `dataset=NAME` alone, with the default's value and its own.

    Returns:
        None where the file cannot be read or names no data set that can be composed.
    """
    try:
        own = dict(_flat(yaml.safe_load(config.read_text(encoding="utf-8")), ""))
        default = _default(str(own["dataset.name"]))
    except (OSError, ValueError, KeyError, AttributeError, yaml.YAMLError, ConfigError):
        return None
    keys = [key for key in {**default, **own} if key not in UNSAID]
    differing = [key for key in keys if default.get(key) != own.get(key)]
    return [(key, _said(key, default), _said(key, own)) for key in differing]


@cache
def _default(dataset: str) -> dict[str, Any]:
    config = OmegaConf.structured(typed(compose([f"dataset={dataset}"])))
    return dict(_flat(OmegaConf.to_container(config, enum_to_str=True), ""))


def _flat(values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _said(key: str, values: dict[str, Any]) -> str:
    return yaml.safe_dump(values[key], default_flow_style=True).split("\n...")[0].strip() if key in values else "–"
