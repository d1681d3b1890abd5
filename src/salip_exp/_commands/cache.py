"""`task=cache`: what is kept between runs, by stage, and what was removed of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from salip_exp._console import table, wide_console
from salip_exp._wording import many
from salip_exp.cache._base import Stage
from salip_exp.cache._files import CacheFile, Removed, clean_up, entries, leftovers, stages_folder
from salip_exp.cache.store import folder_of
from salip_exp.config import CacheConfig, Config
from salip_exp.errors import EnvironmentFault

_HINTS = {
    "cache.prune=true": "damaged entries, leftovers, and what exceeds cache.disk_gb",
    "cache.older_than_days=N": "what was not used for N days",
    "cache.clear=true": "every entry; weights stay",
}


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Remove what the configuration asks for, and print what is there by stage; returns 0, also where there is nothing.

    Raises:
        EnvironmentFault: the folder cannot be read, or files could not be removed.
    """
    kept = folder_of(config.cache).absolute()
    console = wide_console()
    if not stages_folder(kept).is_dir():
        console.print(Text(f"nothing is kept: {stages_folder(kept)} does not exist; a run with cache=disk makes it"))
        return 0
    try:
        refused = _tidied(kept, config)
        console.print(stage_table(entries(kept), config.cache))
        for line in _notes(kept):
            console.print(Text(line))
    except OSError as fault:
        raise EnvironmentFault(f"the cache folder {kept} cannot be read ({fault}): get access to it") from fault
    if refused:
        raise EnvironmentFault(f"{refused} files in {kept} could not be removed: get access to them")
    return 0


def stage_table(items: Iterable[CacheFile], config: CacheConfig) -> Table:
    """A row per stage and one for all: entries, size, oldest and newest use."""
    heads = ("stage", "entries", "size", "oldest use", "newest use")
    result = table("results of stages, kept between runs", *heads, numbers=("entries", "size"))
    items = list(items)
    for stage in Stage:
        result.add_row(*_cells(stage, [item for item in items if item.stage is stage]))
    result.add_section()
    name, n, size, *uses = _cells("all", items)
    result.add_row(name, n, f"{size} of {_bytes(config.disk_gb * 1e9)}", *uses, style="bold")
    return result


def _tidied(folder: Path, config: Config) -> int:
    """Remove and say so; how many files were refused."""
    refused = 0
    for what, removed in clean_up(folder, config.cache, lambda items: _bar(items, config.progress)):
        wide_console().print(Text(f"removed {_removed(removed)}: {what}"))
        refused += removed.refused
    return refused


def _bar(items: list[CacheFile], progress: bool) -> Iterable[CacheFile]:
    return tqdm(items, desc="checking", unit=" entries", disable=None if progress else True)


def _notes(folder: Path) -> list[str]:
    drafts = leftovers(folder)
    lost = sum(item.size for item in drafts)
    return [
        f"folder      {folder}",
        f"disk        {_bytes(shutil.disk_usage(folder).free)} free",
        *([f"leftovers   {len(drafts)} of killed processes, {_bytes(lost)}"] if drafts else []),
        *(f"to remove   {key:<24} {what}" for key, what in _HINTS.items()),
    ]


def _cells(name: str, items: list[CacheFile]) -> list[str]:
    uses = [_moment(pick(item.used for item in items)) for pick in (min, max)] if items else ["–", "–"]
    return [name, str(len(items)), _bytes(sum(item.size for item in items)), *uses]


def _removed(removed: Removed) -> str:
    return f"{many(removed.n, 'file')}, {_bytes(removed.size)}"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def _bytes(n: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= scale:
            return f"{n / scale:,.1f} {unit}"
    return f"{n:.0f} B"
