"""What a user may have removed from the cache on disk, by `task=cache` and a key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from salip_exp.caching.entry import Damaged, unpack
from salip_exp.caching.shelf import Item, Removed, entries, leftovers, remove, shrink
from salip_exp.config import CacheConfig

Watch = Callable[[list[Item]], Iterable[Item]]

DAY_S = 86_400.0


def tidy(folder: Path, config: CacheConfig, watch: Watch = iter) -> Iterator[tuple[str, Removed]]:
    """Do what `prune`, `older_than_days` or `clear` ask for; processes at work compute anew what they miss.

    Args:
        folder: of everything kept between runs.
        config: which of the three, and the budget that `prune` goes down to.
        watch: stands around the entries that are checked one by one, to show how far that is.

    Yields:
        What was done, in words, and what that removed.

    Raises:
        OSError: a folder cannot be listed, or an entry cannot be read.
    """
    if config.clear:
        yield "every entry", remove(entries(folder))
    if config.clear or config.prune:
        yield "left behind by killed processes", remove(leftovers(folder))
    if config.older_than_days is not None:
        since = time.time() - DAY_S * config.older_than_days
        old = (item for item in entries(folder) if item.used <= since)
        yield f"not used for {config.older_than_days:g} days", remove(old)
    if config.prune:
        yield "damaged", remove(item for item in watch(entries(folder)) if _is_damaged(item))
        yield (
            f"least recently used, to keep cache.disk_gb={config.disk_gb:g}",
            shrink(folder, int(config.disk_gb * 1e9)),
        )


def _is_damaged(item: Item) -> bool:
    with suppress(FileNotFoundError):  # removed meanwhile
        try:
            unpack(item.stage, item.key, item.path.read_bytes())
        except Damaged:
            return True
    return False
