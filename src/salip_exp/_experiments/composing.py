"""From a cell to its configuration, and to the key of all that its result depends on."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from salip_exp._experiments.cells import Cell, method_of
from salip_exp._paper import sources
from salip_exp._runs.records import recipe
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import key_of
from salip_exp._settings.tuned import read_tuned
from salip_exp._settings.validate import typed
from salip_exp.cascade.sentences import read_sentences
from salip_exp.config import (
    Choice,
    Config,
    Data,
    Display,
    Doubt,
    MaskAffine,
    MaskOrder,
    Sampler,
    ScoreAt,
    TrackerConfig,
    Windowed,
)
from salip_exp.errors import ConfigError, SalipError, WeightsError
from salip_exp.methods.traits import METHODS
from salip_exp.networks._hub import located
from salip_exp.networks.device import pick_device
from salip_exp.networks.registry import Entry, entry_of
from salip_exp.networks.weights import location, sha256_of

_BEFORE = {"configured_first": False, "choose": Choice.highest}
"""Keys of a search that 0.1.0 did not have, as it searched without them."""
WAITING = {"n_workers", "grace_s", "lock_wait_s", "storage"}
"""Settings of a search that change no number."""


def cell_key(config: Config, data_sha256: str) -> str:
    """SHA-256 over the recipe with its weights, the data set's section and its images, and how scores are summed up.

    Where files lie is no part of it: what is in them is. No network is loaded for it.

    Args:
        config: of the cell.
        data_sha256: over the fingerprints of its cases (`Lab.data_sha256`).

    Raises:
        ConfigError, WeightsError, DataError: the text, the weights' names or a file of settings cannot be used.
    """
    sentences = read_sentences(config.vdt) if METHODS[config.method].clip else []
    parts = {
        "recipe": recipe(config, weights_of(config), sentences, pick_device(config.device).type),
        "dataset": _dataset(config),
        "data": data_sha256,
        "score": _set_alone(asdict(config.score)),
        "seed": config.seed,
        "search": _search(config),
        "unet": _unet(config),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def weights_of(config: Config) -> dict[str, str]:
    """SHA-256 of the weights of each network in use; those of a hub are fetched for it where that is allowed."""
    return {each.network: located(each, config.download).sha256 for each in _entries(config)}


def absent_weights(config: Config) -> str | None:
    """The first network in use whose registered weights are not on this machine, as an override; None if all are.

    A file of the user's that is not there is a mistake, and found when the cell is run.
    """
    return next((each.option for each in _entries(config) if not each.users and not _there(each)), None)


def _there(entry: Entry) -> bool:
    if not entry.folder:
        return location(entry).is_file()
    try:
        located(entry, download=False)
    except SalipError:
        return False
    return True


def _entries(config: Config) -> list[Entry]:
    return [entry_of(config, network) for network in METHODS[config.method].networks]


_LATER: dict[str, object] = {
    "absent": False,
    "at": ScoreAt.working,
    "doubt": Doubt.confidence,
    "files.channel": None,
    "files.dicom_seg": False,
    "files.labels": None,
    "files.layout": None,
    "files.series": None,
    "files.table": None,
    "poor_below": 0.8,
    "resize.masks": MaskOrder.threshold_first,
    "volume.display": Display.neurological,
    "volume.mask_affine": MaskAffine.check,
    "volume.resize": True,
    "volume.trim_slices": 0,
    "volume.window": None,
    "volume.window_of": Windowed.volume,
}
"""Keys of the sections of data set and scores that 0.1.0 did not have, each with what it did."""


def _dataset(config: Config) -> dict[str, Any]:
    """The data set's section without its place and its choice, which the images tell."""
    return _set_alone(asdict(config.dataset) | {"root": None, "subset": None, "sample": None})


def _set_alone(section: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A section, in which a key that 0.1.0 did not have stands where it is set alone."""
    return {
        key: _set_alone(value, f"{above}{key}.") if isinstance(value, dict) else value
        for key, value in section.items()
        if f"{above}{key}" not in _LATER or value != _LATER[f"{above}{key}"]
    }


def _search(config: Config) -> dict[str, Any]:
    """Settings of the search, and the images that tuned settings leave out; as in 0.1.0 where that did the same."""
    settings = {name: value for name, value in asdict(config.tuning).items() if name not in WAITING}
    idle = config.tuning.sampler is Sampler.none
    for name, before in _BEFORE.items():
        if idle or settings[name] == before:
            del settings[name]
    if idle or not config.tuning.space.area.above_targets:
        del settings["space"]["area"]["above_targets"]
    if config.tuned is None:
        return {**settings, "images": []}
    found = read_tuned(Path(config.tuned).expanduser())  # no other image of their subjects is scored either
    return {**settings, "images": list(found.images), "subjects": list(found.subjects)}


def _unet(config: Config) -> dict[str, Any] | None:
    """How the U-Net is trained, and given weights by their hash; a trained one follows from the rest of the key."""
    if not METHODS[config.method].trained:
        return None
    section = asdict(config.unet)
    weights = section.pop("weights")
    return {**section, "sha256": None if weights is None else _sha256(Path(weights).expanduser())}


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"unet.weights={path} cannot be read ({error.strerror}): check the path") from error


OWN = {"experiment", "data", "task", "resume", "outputs", "progress", "executor", "shard"}
"""Keys that say what the experiment is and where it goes on, and change no cell."""
_FIXED = {"dataset", "method", "dataset.root", "dataset.name"}
"""Keys that cells set themselves."""


def told(command: Sequence[str]) -> list[str]:
    """What the user typed for all cells: the overrides of a command without those of the experiment itself.

    Raises:
        ConfigError: one of them is what cells differ in.
    """
    overrides = [each for each in command if "=" in each and not each.startswith(("-", "hydra."))]
    for each in overrides:
        if key_of(each) in _FIXED:
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
    own = [*cell.overrides, *([] if cell.text is None else [f"vdt.file={_file(cell, config)}"])]
    if real:
        return [*first, *_drawn(cell, config, typed_by_user), *_merged(typed_by_user, own)]
    # Phantoms promise that nothing is fetched, and minutes: networks that are there already may be used on them.
    trains = METHODS[method_of(cell.overrides)].trained and all(key_of(each) != "unet" for each in typed_by_user)
    quick = ["unet=quick"] if trains else []
    return [*first, *_merged(typed_by_user, own), *quick, "download=false"]


def _drawn(cell: Cell, config: Config, typed_by_user: Sequence[str]) -> list[str]:
    """How many real images a cell scores, unless the user chooses; a U-Net learns from all and scores its own share."""
    wanted = getattr(config.experiment.images, cell.dataset)
    chosen = {"dataset.limit", "dataset.sample", "dataset.subset"} & {key_of(each) for each in typed_by_user}
    if wanted is None or chosen or METHODS[method_of(cell.overrides)].trained:
        return []
    return [f"dataset.sample={wanted}"]


def _file(cell: Cell, config: Config) -> str | None:
    """The file of sentences that a cell takes."""
    texts = config.experiment.texts
    if cell.text == "described":
        found: str | None = getattr(texts, cell.dataset)
        return found
    return None if texts.authors is None else str(Path(texts.authors) / f"{sources()[cell.dataset].text}.json")


def absent_text(cell: Cell, config: Config) -> str | None:
    """Why the sentences of a cell cannot be there: one sentence, or None if they may be."""
    if cell.text is None or _file(cell, config) is not None:
        return None
    if cell.text == "authors":
        return "no sentences of the authors': give experiment.texts.authors=DIR, the folder clip_prompts of their code"
    return (
        f"no sentences by a language model: give experiment.texts.{cell.dataset}=FILE, which task=describe writes "
        f'(organ="{sources()[cell.dataset].roi}")'
    )


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
    if METHODS[method_of(overrides)].searched:
        return list(overrides)
    return [each for each in overrides if key_of(each).partition(".")[0] != "tuning"]
