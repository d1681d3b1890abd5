"""`seeds=[...]`: the same run with one seed after the other, and how far its scores spread.

A seed draws a sample of a data set, the tuning images and trials of a search, and split and weights of a U-Net. Each
run lies in a folder of its own, complete as any other; the same command continues the whole.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from salip_exp._files import atomic_write
from salip_exp._runs.folder import write_json
from salip_exp._settings.differences import differing
from salip_exp._settings.folders import File
from salip_exp._several import Summaries, groups, mean_of, parts, rows, shared
from salip_exp.config import Config
from salip_exp.evaluation.scores import means
from salip_exp.evaluation.statistics import spread

VERSION = 1


def of_seeds(config: Config) -> dict[str, Config]:
    """The configuration of each seed's run by the path of its folder below the common one: `seed/7`."""
    return {f"{File.of_seed}/{seed}": replace(config, seed=seed, seeds=[]) for seed in config.seeds}


def write_spread(folder: Path, found: Summaries) -> None:
    """Write `spread.json` and `spread.csv`.

    Raises:
        Unwritable: the folder cannot be written.
    """
    apart = differing({seed: folder / File.of_seed / seed for seed in found})
    write_json(folder / File.spread, _spreads(found) | {"differing": apart})
    atomic_write(folder / File.spread_table, rows(found, "seed").to_csv(index=False, lineterminator="\n"))


def _spreads(found: Summaries) -> dict[str, Any]:
    """By group and over all: for each mean its spread over the seeds, None where no seed has it."""
    return {
        "version": VERSION,
        **shared(found, "roi"),
        "seeds": [int(seed) for seed in found],
        "spreads": {
            group: {mean.name: _spread(group, mean.name, found) for _, mean in means()} for group in groups(found)
        },
    }


def _spread(group: str, name: str, found: Summaries) -> dict[str, Any] | None:
    over = spread([mean_of(part, name) for part in parts(group, found).values()])
    return None if over is None else asdict(over)
