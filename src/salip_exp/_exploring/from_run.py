"""A run to go on from: its configuration, and the overrides that compose to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from salip_exp._settings.differences import changes, config_of
from salip_exp._settings.folders import key_of
from salip_exp._settings.validate import require_possible
from salip_exp.api._overrides import text_of
from salip_exp.config import Config
from salip_exp.errors import ConfigError

_HERE = ("task", "explore", "outputs")
"""Keys of the command that count."""
_WHERE = ("device", "threads", "cache", "download", "progress")
"""Those that count where they are typed: they say where something is computed, and not what comes out."""


def from_run(config: Config, typed: Sequence[str]) -> tuple[Config, list[str]]:
    """What `explore.run` names, looked at as the command says.

    Args:
        config: of the command.
        typed: its overrides.

    Returns:
        The configuration, and overrides that compose to it.

    Raises:
        ConfigError: something was typed that the run says, or nothing of it can be tried.
        DataError: its configuration cannot be read.
    """
    keys = {each: key_of(each).split(".")[0] for each in typed}
    said = [each for each, key in keys.items() if key not in (*_HERE, *_WHERE, "hydra")]
    if said:
        raise ConfigError(f"explore.run takes data, networks and settings from the run: leave out {', '.join(said)}")
    told = config_of(Path(config.explore.run or ""))
    counts = [*_HERE, *(name for name in _WHERE if name in keys.values())]
    here: dict[str, Any] = {name: getattr(config, name) for name in counts}
    found = replace(told, tuned=None, **here)  # what was tuned stands in its settings
    require_possible(found)
    return found, [f"dataset={found.dataset.name}", *(f"{key}={text_of(each)}" for key, each in changes(found).items())]
