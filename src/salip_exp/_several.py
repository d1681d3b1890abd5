"""Several runs by one command: each whole in a folder of its own, one after the other, and a file over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from salip_exp._execute import execute
from salip_exp._runs._process import stoppable
from salip_exp._runs.folder import claim, read_json
from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Listener
from salip_exp._settings.executor import AUTO
from salip_exp._settings.folders import File
from salip_exp.config import Config, ExecutorName
from salip_exp.errors import TooManyFailures
from salip_exp.evaluation.scores import means

if TYPE_CHECKING:
    from salip_exp._tuning.tune import StudyListener

ALL = "all"
"""The row over all groups."""
Summaries = Mapping[str, Mapping[str, Any]]
"""What each run came to, by its name."""


def run_several(
    configs: Mapping[str, Config],
    folder: Path,
    command: Sequence[str],
    listen: Callable[[Config, Path], Sequence[Listener]],
    of_study: Callable[[Config], Sequence[StudyListener]],
    done: Callable[[str, Path], None],
    over_all: Callable[[Summaries], None],
) -> int:
    """Run what is missing, then write what stands over all runs; a worker (`shard`) does its part of each run, no more.

    Args:
        configs: of the runs by the paths of their folders below the common one, checked.
        folder: of all of them.
        command: what to type to get them again.
        listen: who hears of a run, from its configuration and its folder.
        of_study: who hears of a study that such a run makes first.
        done: hears of every finished run: its name, and its folder.
        over_all: writes what stands over all of them.

    Returns:
        0, or the code of the signal that ended it after the case at hand.

    Raises:
        TooManyFailures: of the first run with more failed cases than `max_failed` allows, once all are made.
        What `execute` raises else; EnvironmentFault: the folder is in use or cannot be written.
    """
    found: dict[str, Mapping[str, Any]] = {}
    lab = Lab(next(iter(configs.values())).cache.memory_mb)
    worker = any(config.shard is not None for config in configs.values())
    too_many: list[TooManyFailures] = []
    with nullcontext() if worker else claim(folder), stoppable() as stop:
        for name, config in configs.items():
            alone, place = replace(config, resume=True, shard=_part(config)), folder / name
            try:
                code = stop.code or execute(alone, place, command, lab, listen(alone, place), of_study, train=True)
            except TooManyFailures as error:  # all of it is written; the others need not go without theirs
                code = 0
                too_many.append(error)
            if code:
                return code
            if not worker:
                found[place.name] = read_json(place / File.summary) or {}
                done(place.name, place)
        if not worker:
            over_all(found)
    for each in too_many:
        raise each
    return 0


def _part(config: Config) -> str | None:
    """What this process does of a run: its part as a worker; what workers left of it; or, None, all of it."""
    return AUTO if config.executor.name is not ExecutorName.serial else config.shard


def shared(found: Summaries, *names: str) -> dict[str, Any]:
    """What the summaries of all runs say alike, and all of their notes."""
    first = next(iter(found.values()))
    alike = {
        name: first[name] for name in ("dataset", *names, "method", "preset", "networks", "score_at") if name in first
    }
    return alike | {"notes": list(dict.fromkeys(note for each in found.values() for note in each["notes"]))}


def rows(found: Summaries, key: str) -> pd.DataFrame:
    """A row for each group of each run: its cases, its subjects, and every mean.

    Args:
        key: the column of the names of the runs.
    """
    return pd.DataFrame(
        {
            "group": group,
            key: name,
            "score_at": found[name].get("score_at", "working"),
            "n": part["dsc"]["n"],
            "cases": part["cases"],
            "subjects": part["subjects"],
        }
        | {mean.name: mean_of(part, mean.name) for _, mean in means()}
        for group in groups(found)
        for name, part in parts(group, found).items()
    )


def groups(found: Summaries) -> list[str]:
    """Those that any run has, and all together."""
    return [*sorted({group for each in found.values() for group in each["groups"]}), ALL]


def parts(group: str, found: Summaries) -> dict[str, Mapping[str, Any]]:
    """By run, where it has the group."""
    return {
        name: each["overall"] if group == ALL else each["groups"][group]
        for name, each in found.items()
        if group == ALL or group in each["groups"]
    }


def mean_of(part: Mapping[str, Any], name: str) -> float | None:
    """A mean of a part of a summary; None where it was not computed."""
    return (part.get(name) or {}).get("mean")
