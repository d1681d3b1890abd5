"""From a cell to its configuration: the data set, what the user typed, and what the cell is about, in this order."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from salip_exp.compose import compose
from salip_exp.config import Config, Data, MethodName, TrackerConfig
from salip_exp.errors import ConfigError
from salip_exp.experiments.cells import Cell
from salip_exp.experiments.definitions import sources
from salip_exp.run_name import key_of
from salip_exp.validate import typed

OWN = {"experiment", "data", "task", "resume", "outputs", "progress"}
"""Keys that say what the experiment is and where it goes on, and change no cell."""
FIXED = {"dataset", "method", "dataset.root", "dataset.name"}
"""Keys that cells set themselves."""
SEARCHED = (MethodName.salip, MethodName.sam_clip)
"""Methods that have settings to search; the others run without a search."""


def told(command: Sequence[str]) -> list[str]:
    """What the user typed for all cells: the overrides of a command without those of the experiment itself.

    Raises:
        ConfigError: one of them is what cells differ in.
    """
    overrides = [each for each in command if "=" in each and not each.startswith(("-", "hydra."))]
    for each in overrides:
        if key_of(each) in FIXED:
            raise ConfigError(
                f"{each}: the cells of an experiment set {key_of(each)} themselves; data=phantoms or data=real chooses "
                "the images, experiment.roots.hc18=DIR (cc359, xray) says where they lie"
            )
    return [each for each in overrides if key_of(each).partition(".")[0] not in OWN]


def overrides_of(cell: Cell, config: Config, typed_by_user: Sequence[str]) -> list[str]:
    """What an ordinary run of the cell would be told; the cell's own choice wins over what the user typed."""
    source = sources()[cell.dataset]
    real = config.data is Data.real
    root = getattr(config.experiment.roots, cell.dataset) if real else None
    first = [f"dataset={source.real if real else source.phantoms}", *([f"dataset.root={root}"] if root else [])]
    if real:
        return [*first, *_merged(typed_by_user, cell.overrides)]
    # Phantoms promise that nothing is fetched, and minutes: networks that are there already may be used on them.
    trains = "method=unet" in cell.overrides and all(key_of(each) != "unet" for each in typed_by_user)
    quick = ["unet=quick"] if trains else []
    return [*first, *_merged(typed_by_user, cell.overrides), *quick, "download=false"]


def composed(overrides: Sequence[str], config: Config) -> Config:
    """The cell's configuration, checked.

    Raises:
        ConfigError: the overrides do not go together.
    """
    chosen = typed(compose(_searching(overrides)))
    tracker: TrackerConfig = replace(chosen.tracker, study=chosen.tracker.study or config.experiment.name)
    # In a log, a line per cell is enough for phantoms; real images may take hours each.
    progress = config.progress and (config.data is Data.real or sys.stderr.isatty())
    return replace(chosen, outputs=config.outputs, progress=progress, tracker=tracker)


def absent(config: Config) -> str | None:
    """Why the images of a cell cannot be there: one sentence, or None if they may be."""
    data = config.dataset
    if data.phantom is not None:
        return None
    if data.root is None:
        return f"no images of {data.name}: give experiment.roots.{data.name}=DIR, or put them below $SALIP_DATA"
    root = Path(data.root).expanduser()
    return None if root.is_dir() else f"no images of {data.name}: there is no folder {data.root}"


def _merged(typed_by_user: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    """Both, without what the user typed for a key that the cell sets; ablations add up in one list."""
    keys = {key_of(each) for each in own} - {"ablation"}
    both = [*(each for each in typed_by_user if key_of(each) not in keys), *own]
    ablations = [name for each in both if key_of(each) == "ablation" for name in _names(each)]
    yield from (each for each in both if key_of(each) != "ablation")
    if ablations:
        yield f"+ablation=[{','.join(dict.fromkeys(ablations))}]"


def _names(override: str) -> list[str]:
    return [name.strip() for name in override.partition("=")[2].strip("[]").split(",") if name.strip()]


def _searching(overrides: Sequence[str]) -> list[str]:
    """The overrides without a search where the method has nothing to search."""
    method = next((each.partition("=")[2] for each in overrides if key_of(each) == "method"), str(MethodName.salip))
    if method in SEARCHED:
        return list(overrides)
    return [each for each in overrides if key_of(each).partition(".")[0] != "tuning"]
