"""`seeds=[...]`: the same run with one seed after the other, and how far its scores spread.

A seed draws a sample of a data set, the tuning images and trials of a search, and split and weights of a U-Net. Each
run lies in a folder of its own, complete as any other; the same command continues the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from salip_exp._execute import execute
from salip_exp._files import atomic_write
from salip_exp._settings.folders import File
from salip_exp.config import Config
from salip_exp.evaluation.scores import means
from salip_exp.evaluation.statistics import spread
from salip_exp.runs._process import stoppable
from salip_exp.runs.folder import claim, read_json, write_json
from salip_exp.runs.lab import Lab
from salip_exp.runs.listener import Listener

if TYPE_CHECKING:
    from salip_exp._tuning.tune import StudyListener

VERSION = 1
_SHARED = ("dataset", "roi", "method", "preset", "networks", "score_at")
"""What the summaries of all seeds say alike."""
ALL = "all"
"""The row over all groups."""
_Summaries = Mapping[int, Mapping[str, Any]]
"""What each seed's run came to, by seed."""


def run_seeds(
    config: Config,
    folder: Path,
    command: Sequence[str],
    listen: Callable[[Config, Path], Sequence[Listener]],
    of_study: Callable[[Config], Sequence[StudyListener]],
    done: Callable[[int, Mapping[str, Any]], None],
) -> int:
    """Run what is missing, then write `spread.json` and `spread.csv`.

    Args:
        config: checked, with `seeds`.
        folder: of all of them; the run of seed 7 lies in its `seed/7`.
        command: what to type to get them again.
        listen: who hears of the run of a seed, from its configuration and its folder.
        of_study: who hears of a study that such a run makes first.
        done: hears of every finished run: its seed and its summary.

    Returns:
        0, or the code of the signal that ended it after the case at hand.

    Raises:
        What `execute` raises; EnvironmentFault: the folder is in use or cannot be written.
    """
    found: dict[int, Mapping[str, Any]] = {}
    lab = Lab(config.cache.memory_mb)
    with claim(folder), stoppable() as stop:
        for seed in config.seeds:
            alone = replace(config, seed=seed, seeds=[], resume=True)
            place = folder / File.of_seed / str(seed)
            code = stop.code or execute(alone, place, command, lab, listen(alone, place), of_study, train=True)
            if code:
                return code
            found[seed] = read_json(place / File.summary) or {}
            done(seed, found[seed])
        write_json(folder / File.spread, _spreads(found))
        atomic_write(folder / File.spread_table, _rows(found).to_csv(index=False, lineterminator="\n"))
    return 0


def _spreads(found: _Summaries) -> dict[str, Any]:
    """By group and over all: for each mean its spread over the seeds, None where no seed has it."""
    first = next(iter(found.values()))
    return {
        "version": VERSION,
        **{name: first[name] for name in _SHARED if name in first},
        "seeds": list(found),
        "notes": list(dict.fromkeys(note for each in found.values() for note in each["notes"])),
        "spreads": {group: {name: _spread(group, name, found) for name in _names()} for group in _groups(found)},
    }


def _spread(group: str, name: str, found: _Summaries) -> dict[str, Any] | None:
    over = spread([_mean(part, name) for part in _parts(group, found).values()])
    return None if over is None else asdict(over)


def _rows(found: _Summaries) -> pd.DataFrame:
    """A row for each group of each seed: its cases, its subjects, and every mean."""
    return pd.DataFrame(
        {"group": group, "seed": seed, "n": part["dsc"]["n"], "cases": part["cases"], "subjects": part["subjects"]}
        | {name: _mean(part, name) for name in _names()}
        for group in _groups(found)
        for seed, part in _parts(group, found).items()
    )


def _names() -> list[str]:
    return [mean.name for _, mean in means()]


def _groups(found: _Summaries) -> list[str]:
    """Those that any seed has, and all together."""
    return [*sorted({group for each in found.values() for group in each["groups"]}), ALL]


def _parts(group: str, found: _Summaries) -> dict[int, Mapping[str, Any]]:
    """By seed, where it has the group."""
    return {
        seed: each["overall"] if group == ALL else each["groups"][group]
        for seed, each in found.items()
        if group == ALL or group in each["groups"]
    }


def _mean(part: Mapping[str, Any], name: str) -> float | None:
    return (part.get(name) or {}).get("mean")
