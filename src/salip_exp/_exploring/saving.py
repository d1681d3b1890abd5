"""What was tried, kept: a file of sentences, overrides, and the command that gives the same numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from salip_exp._exploring.asked import KEYS, Asked, asked_of, configured
from salip_exp._files import atomic_write
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import key_of
from salip_exp._settings.validate import typed
from salip_exp.api._overrides import text_of
from salip_exp.config import Config, ExploreConfig, Task
from salip_exp.data.case import Dataset
from salip_exp.errors import EnvironmentFault

TEXT, COMMAND, OVERRIDES, CASES = "vdt.yaml", "command.sh", "overrides.txt", "cases.txt"
_CHOICE = ("dataset.limit", "dataset.sample", "dataset.subset")


def save(
    folder: Path, base: Config, typed_overrides: Sequence[str], asked: Asked, dataset: Dataset, cases: Sequence[str]
) -> dict[str, Any]:
    """Write what was tried into a new folder, and prove that its command composes to the same configuration.

    Args:
        folder: of the command; the new one lies in it, called by the time.
        base: the configuration of the command.
        typed_overrides: as Hydra had them.
        asked: what was changed.
        dataset: all cases.
        cases: ids of those that the command is to run on, in the order of the data.

    Returns:
        `command`, `overrides`, `folder`, `text` (the file of sentences).

    Raises:
        ConfigError: what is asked for is not possible.
        EnvironmentFault: it cannot be written, or the command would not give the same.
    """
    wanted = configured(base, asked)
    place = folder / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    overrides = _overrides(base, typed_overrides, asked)
    if len(cases) < len(dataset.refs):
        atomic_write(place / CASES, "".join(f"{each}\n" for each in cases))
        chosen = str(place / CASES)
        overrides = [each for each in overrides if key_of(each) not in _CHOICE] + [f"dataset.subset={text_of(chosen)}"]
        wanted = replace(wanted, dataset=replace(wanted.dataset, limit=None, sample=None, subset=chosen))
    _require_same(wanted, overrides)
    command = shlex.join(["python", "-m", "salip_exp", *overrides])
    text = {"name": base.vdt.name, "sentences": list(asked.sentences)}
    atomic_write(place / TEXT, yaml.safe_dump(text, sort_keys=False, allow_unicode=True, width=1000))
    atomic_write(place / OVERRIDES, "".join(f"{each}\n" for each in overrides))
    atomic_write(place / COMMAND, command + "\n")
    return {"command": command, "overrides": overrides, "folder": str(place), "text": str(place / TEXT)}


def _overrides(base: Config, before: Sequence[str], asked: Asked) -> list[str]:
    """What was typed, with what was changed in the place of what it changes."""
    started = asked_of(base).settings
    changed = {key: value for key, value in asked.settings.items() if value != started[key]}
    gone = {*changed, "task", "resume"} | ({"vdt.file"} if KEYS["sentences"] in changed else set())
    kept = [each for each in before if key_of(each) not in gone and not key_of(each).startswith(("explore.", "hydra."))]
    return kept + [f"{key}={text_of(value)}" for key, value in changed.items()]


def _require_same(wanted: Config, overrides: Sequence[str]) -> None:
    """Prove that overrides compose to a configuration, whatever of the sentences stands in a file."""

    def plain(config: Config) -> dict[str, Any]:
        text = replace(config.vdt, file=None, sentences=list(asked_of(config).sentences))
        alike = replace(config, task=Task.run, resume=False, explore=ExploreConfig(), vdt=text)
        return asdict(alike)

    found, meant = plain(typed(compose(overrides))), plain(wanted)
    if found != meant:
        other = ", ".join(name for name in meant if found[name] != meant[name])
        raise EnvironmentFault(
            f"the command would not give the same numbers, as {other} would differ: nothing is saved"
        )
