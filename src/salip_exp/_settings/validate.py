"""From what Hydra composed to a `Config` that can be relied on; all that is wrong becomes one sentence.

Hydra lets `+typo=1` pass even with a schema. So the composed keys are compared with the schema one by one, and the
schema is filled anew from plain values: nothing that YAML names (`_target_`) is ever instantiated.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import SequenceMatcher
from enum import Enum
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from salip_exp import _paper as definitions
from salip_exp._secrets import keep
from salip_exp._settings import executor as executor
from salip_exp._settings import organs
from salip_exp._settings import tuning as tuning
from salip_exp._settings.tuned import with_tuned
from salip_exp._wording import some
from salip_exp.cascade.options import VIEWS, no_point, too_many
from salip_exp.config import (
    AreaUnit,
    CacheMode,
    Config,
    Data,
    DatasetConfig,
    Doubt,
    Files,
    Images,
    MissingMasks,
    ResizeMode,
    Sampler,
    ScoreAt,
    Side,
    Task,
    TrackerMode,
    TrackerName,
    Volume,
)
from salip_exp.data._phantoms.store import GROUPS, WRITERS
from salip_exp.data._windows import limits
from salip_exp.data.datasets import READERS
from salip_exp.data.stress import CORRUPTIONS, stress_of
from salip_exp.errors import ConfigError
from salip_exp.methods.traits import METHODS
from salip_exp.plugins import Catalogue

OPEN: dict[str, Catalogue[Any]] = {"method": METHODS, "dataset.layout": READERS, "view.kind": VIEWS}
"""Keys that take a name of what is built in or installed."""
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@cache
def keys() -> dict[str, Any]:
    """Every dotted key of the schema with its type; groups of keys are not listed."""
    return dict(_keys(Config, ""))


def nearest(key: str) -> str:
    """The valid key most like a wrong one, by its whole path or its last part."""
    leaf = key.rpartition(".")[2]

    def likeness(valid: str) -> float:
        whole = SequenceMatcher(None, key, valid).ratio()
        return max(whole, SequenceMatcher(None, leaf, valid.rpartition(".")[2]).ratio() - 0.01)

    return max(keys(), key=likeness)


def unknown_key(key: str) -> str:
    """One sentence for a key that does not exist, or that takes names of one's own."""
    if owner := _named_freely(key):
        return f"{owner} cannot be set like this: write +{owner}=..., it takes {takes(owner)}"
    return f"{key} is not a key of the configuration: the nearest is {nearest(key)} (--cfg job lists them all)"


def wrong_value(key: str, value: object) -> str:
    """One sentence for a value that a key, or a group of keys, cannot take."""
    if (owner := _named_freely(key)) and owner != key:
        return f"{key}={value} is not possible: {owner} takes {takes(owner)}"
    if key not in keys():
        inner = next((each for each in keys() if each.startswith(f"{key}.")), nearest(key))
        return f"{key}={value} is not possible: {key} is a group of keys, set one of them, e.g. {inner}=..."
    return f"{key}={value} is not possible: {key} takes {takes(key)}"


def takes(key: str) -> str:
    """What a key takes, in words."""
    return f"one of {', '.join(OPEN[key].names)}" if key in OPEN else expected(keys()[key])


def expected(hint: Any) -> str:
    """What a type takes, in words."""
    options = [each for each in get_args(hint) if each is not type(None)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(member.name for member in hint)
    if isinstance(hint, type) and hint in KINDS:
        return KINDS[hint]
    if get_origin(hint) is dict:
        inner = get_args(hint)[1]
        keys_of_each = ", ".join(each.name for each in fields(inner)) if is_dataclass(inner) else ""
        return f"names with the keys {keys_of_each} each" if keys_of_each else f"names, each with {expected(inner)}"
    if hint is Any:
        return "a name, or two numbers in brackets"
    if type(None) in get_args(hint):
        return f"{expected(options[0])}, or null"
    return f"a list, each entry {expected(options[0])}"


def group_of(hint: Any) -> type | None:
    """The dataclass that a type stands for, also if it is optional; None for a plain value or free names."""
    if get_origin(hint) is dict:
        return None
    return next((each for each in (hint, *get_args(hint)) if isinstance(each, type) and is_dataclass(each)), None)


def _named_freely(key: str) -> str | None:
    """The key, or the one above it, below which names are free."""
    return next(
        (each for each, hint in keys().items() if get_origin(hint) is dict and f"{key}.".startswith(f"{each}.")), None
    )


def _keys(group: type, prefix: str) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(group)
    for each in fields(group):
        inner = group_of(hints[each.name])
        if inner is None:
            yield prefix + each.name, hints[each.name]
        else:
            yield from _keys(inner, f"{prefix}{each.name}.")


_FIGURES = re.compile(r"none|(all|(worst|median|best|random):[1-9]\d*)(,(all|(worst|median|best|random):[1-9]\d*))*")


_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def typed(cfg: DictConfig) -> Config:
    """The composed configuration as a `Config`, checked.

    A data set without `root` that is not made of phantoms takes `$SALIP_DATA/<name>` where that variable is set.

    Raises:
        ConfigError: unknown key, value of a wrong type or out of range, keys that contradict each other.
    """
    values = _plain(cfg)
    for name in _unknown(values, Config, ""):
        raise ConfigError(unknown_key(name))
    config = _filled(values)
    config.vdt = organs.with_file(config.vdt)
    _hide_secrets(config)
    for key, catalogue in OPEN.items():
        if (name := _value_at(values, key)) not in catalogue.names:
            raise ConfigError(wrong_value(key, name))
    if config.tuned is not None:
        config = with_tuned(config, Path(config.tuned).expanduser())
    require_possible(config)
    if config.dataset.root is None and config.dataset.phantom is None and os.environ.get("SALIP_DATA"):
        config.dataset.root = str(Path(os.environ["SALIP_DATA"]) / config.dataset.name)
    if os.environ.get("WANDB_MODE") == "disabled":
        config.tracker.mode = TrackerMode.disabled
    return config


def require_possible(config: Config) -> None:
    """Refuse values out of range, and keys that contradict each other, by a ConfigError of one sentence."""
    for sentence in chain(_out_of_range(config, ""), _contradictions(config)):  # which reckon with numbers in range
        raise ConfigError(sentence)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    except InterpolationResolutionError as error:
        raise ConfigError(f"{error.full_key} cannot be resolved: {first_line(error)}") from error
    return {str(name): value for name, value in cast(dict[str, Any], values).items() if name != "hydra"}


def _unknown(values: Mapping[str, Any], group: type, prefix: str) -> Iterator[str]:
    hints = get_type_hints(group)
    for name, value in values.items():
        if name not in hints:
            yield f"{prefix}{name}"
            continue
        inner = group_of(hints[name])
        if inner is not None and isinstance(value, Mapping):
            yield from _unknown(value, inner, f"{prefix}{name}.")


def literal(text: str) -> str:
    """A text as OmegaConf has to read it to give it back: a `${` in it is no reference to a key."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)


def _literal(value: Any) -> Any:
    """Values whose references are resolved already: what still looks like one is text."""
    if isinstance(value, Mapping):
        return {name: _literal(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_literal(each) for each in value]
    return literal(value) if isinstance(value, str) else value


@cache
def schema() -> DictConfig:
    """What OmegaConf makes of `Config`: the dearest part of a merge, which copies it."""
    return cast(DictConfig, OmegaConf.structured(Config))


def _filled(values: dict[str, Any]) -> Config:
    try:
        return cast(Config, OmegaConf.to_object(OmegaConf.merge(schema(), _literal(values))))
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value: choose an option of its group (see --help)") from error
    except OmegaConfBaseException as error:
        key = re.sub(r"\[\d+\]$", "", str(error.full_key or ""))
        raise ConfigError(wrong_value(key, _value_at(values, key))) from error


def _hide_secrets(node: Any) -> None:
    """Hide the passwords in addresses, wherever they came from."""
    for each in fields(node):
        value = getattr(node, each.name)
        if is_dataclass(value):
            _hide_secrets(value)
        elif each.metadata.get("secret") and isinstance(value, str):
            setattr(node, each.name, keep(value))


def _value_at(values: Any, key: str) -> Any:
    """The value below a dotted key of nested mappings; None where there is none."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _out_of_range(node: Any, prefix: str) -> Iterator[str]:
    for each in fields(node):
        value = getattr(node, each.name)
        if is_dataclass(value):
            yield from _out_of_range(value, f"{prefix}{each.name}.")
            continue
        low, high = each.metadata.get("low"), each.metadata.get("high")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not _inside(number, low, high):
                hint = each.metadata.get("hint", "") if _held(number) else ", in 64 bits"
                yield f"{prefix}{each.name}={number!s:.40} is out of range: allowed is {_range(low, high)}{hint}"


def _inside(number: float, low: float | None, high: float | None) -> bool:
    finite = _held(number) and math.isfinite(number)
    return finite and (low is None or number >= low) and (high is None or number <= high)


def _held(number: float) -> bool:
    """Whether the libraries can take it: a whole number of Python's has no end, and theirs have 64 bits."""
    return isinstance(number, float) or abs(number) < 2**63


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "any finite number"
    if high is None:
        return f"{low} or more"
    return f"{high} or less" if low is None else f"{low} to {high}"


def _contradictions(config: Config) -> Iterator[str]:
    yield from _dataset_contradictions(config)
    yield from _stress_contradictions(config)
    yield from _cascade_contradictions(config)
    yield from _text_contradictions(config)
    yield from _cache_contradictions(config)
    if (config.task is Task.export) != (config.export.run is not None):
        yield "task=export and export.run=FOLDER, of a finished run, go together: give both"
    if (config.task is Task.status) != (config.status.run is not None):
        yield "task=status and the folder of a run go together: task=status FOLDER"
    yield from _describe_contradictions(config)
    yield from _explore_contradictions(config)
    yield from tuning.contradictions(config)
    yield from _clip_contradictions(config)
    yield from _training_contradictions(config)
    yield from _experiment_contradictions(config)
    yield from _seeds_contradictions(config)
    yield from executor.contradictions(config)
    yield from _organs_contradictions(config)
    if config.tracker.mode is TrackerMode.online and config.tracker.name is TrackerName.none:
        yield "tracker.mode=online tells nobody with tracker=none: add tracker=wandb"
    if config.tracker.workspace and config.tracker.mode is not TrackerMode.online:
        yield "tracker.workspace=true is kept by wandb's server: add tracker=wandb tracker.mode=online"
    elif config.tracker.workspace and find_spec("wandb_workspaces") is None:
        yield "tracker.workspace=true is made by an extra: pip install 'salip_exp[workspaces]'"
    if not _DEVICE.fullmatch(config.device):
        yield f"device={config.device} is not understood: write auto, cpu, cuda, cuda:1 (the second GPU) or mps"
    if not _FIGURES.fullmatch(config.figures):
        yield (
            f"figures={config.figures} is not understood: write none, all, or rule:count pairs joined by commas "
            "with the rules worst, median, best, random, e.g. figures=worst:5,best:5"
        )


def _stress_contradictions(config: Config) -> Iterator[str]:
    if config.stress is None:
        return
    try:
        stress = stress_of(config.stress)
    except ValueError as error:
        yield str(error)
        return
    if stress.turns and config.score.at is ScoreAt.native and config.dataset.resize.mode is ResizeMode.squash:
        yield (
            f"stress={stress} turns images as they are at working size, squashed, which score.at=native cannot undo: "
            "use dataset.resize.mode=fit, or score.at=working"
        )


def _dataset_contradictions(config: Config) -> Iterator[str]:
    data = config.dataset
    yield from _window_contradictions(data.volume)
    if data.limit is not None and data.sample is not None:
        yield "dataset.limit and dataset.sample exclude each other: the first N cases, or N drawn with the seed"
    if data.phantom is not None and data.layout not in WRITERS:
        yield f"dataset.phantom has no layout {data.layout}: use dataset=phantom_cc359, phantom_hc18 or phantom_xray"
    yield from _files_contradictions(data)
    groups = GROUPS.get(data.layout, 1)
    if data.phantom is not None and data.phantom.n % groups:
        yield (
            f"dataset.phantom.n={data.phantom.n} cannot be shared out: brain phantoms come in {groups} groups "
            f"of equal size, so take a multiple of {groups}"
        )
    if data.layout == "folder" and data.files.masks is None and data.missing_masks is not MissingMasks.predict:
        yield (
            f"dataset.files.masks=null leaves no case with dataset.missing_masks={data.missing_masks}: "
            "use dataset.missing_masks=predict"
        )
    if data.side is not Side.both and not READERS[data.layout].paired:
        yield (
            f"dataset.side={data.side} chooses one organ of a pair, and {data.name} has none: it is for lungs "
            "(dataset=xray or phantom_xray) and for folders of your own"
        )
    elif data.side is not Side.both and data.k != 1:
        yield f"dataset.side={data.side} leaves one organ, but dataset.k={data.k}: add dataset.k=1"
    if METHODS[config.method].target and data.missing_masks is MissingMasks.predict and data.files.masks is None:
        yield f"method={config.method} cannot do without masks, but dataset.files.masks=null: use method=salip"


def _window_contradictions(volume: Volume) -> Iterator[str]:
    low, high = volume.window_low, volume.window_high
    if low >= high:
        yield f"dataset.volume.window_low={low} must lie below dataset.volume.window_high={high}"
    try:
        limits(volume.window)
    except ValueError as error:
        yield str(error)


def _files_contradictions(data: DatasetConfig) -> Iterator[str]:
    files, usual = data.files, Files()
    if isinstance(files.label, str) and data.layout != "folder":
        yield f"dataset.files.label={files.label} is no number: names of labels are looked up by dataset=folder alone"
    if files.layout is None and files.channel is not None:
        yield f"dataset.files.channel={files.channel} is that of a layout: add dataset.files.layout=nnunet, or another"
    if files.table is not None and files.layout is not None:
        yield f"dataset.files.table and dataset.files.layout={files.layout} both say what the files are: drop one"
    if files.layout is not None and (files.images, files.masks) not in (
        (usual.images, usual.masks),
        (usual.images, None),
    ):
        yield (
            f"dataset.files.layout={files.layout} says where images and masks lie: drop dataset.files.images and "
            "dataset.files.masks, or the layout"
        )


def _cascade_contradictions(config: Config) -> Iterator[str]:
    sam, area = config.sam, config.area
    grid = sam.points_per_side, sam.crop_n_layers, sam.crop_n_points_downscale_factor
    yield from no_point("sam.points_per_side", *grid)
    yield from too_many("sam.points_per_side", *grid)
    if area.threshold == 0:
        yield "area.threshold=0 is out of range: it drops every candidate; allowed is above 0"
    if area.unit is AreaUnit.fraction and area.threshold > 1:
        yield (
            f"area.threshold={area.threshold} is out of range: allowed is up to 1 with area.unit=fraction; "
            "for pixels add area.unit=pixels"
        )
    signals, by = config.confidence.signals, config.confidence.by
    if Doubt.confidence in signals:
        yield "confidence.signals=[confidence] is not possible: signals are what confidence is made of, leave it out"
    if by.of_clip:
        yield f"confidence.by={by} is not possible: it is in the scale of CLIP's scores, take confidence.by=ensemble"
    elif by not in {Doubt.confidence, *signals}:
        yield f"confidence.by={by} is none of confidence.signals=[{','.join(signals)}]: name it there, too"
    if len(config.view.color) != 3:
        yield f"view.color={config.view.color} is not a colour: give red, green and blue, e.g. view.color=[255,0,0]"


def _text_contradictions(config: Config) -> Iterator[str]:
    vdt, parts, k = config.vdt, config.vdt.parts, config.dataset.k
    if vdt.sentences and vdt.file is not None:
        yield f"vdt.sentences (of vdt.name={vdt.name}) and vdt.file={vdt.file} exclude each other: leave one out"
    if not METHODS[config.method].clip or config.dataset.files.labels is not None:  # each organ has its own
        return
    if config.task is Task.describe:  # which makes it
        return
    if parts and (vdt.sentences or vdt.file is not None):
        yield (
            f"separate texts ({some(list(parts))}) and one text for all (vdt={vdt.name}) exclude each other: "
            "leave one out, e.g. +ablation=separate_lungs"
        )
    if parts and len(parts) != k:
        yield (
            f"vdt={vdt.name} has a text for each of {len(parts)} organs ({some(list(parts))}), and an image of "
            f"{config.dataset.name} holds dataset.k={k}: separate texts are for pairs such as lungs (dataset=xray)"
        )
    if not parts and not vdt.sentences and vdt.file is None:
        yield (
            f"method={config.method} asks CLIP for the organ, but there is no text: describe how it looks by "
            'vdt.sentences=\'["...", "..."]\', or give vdt.file=FILE, or take vdt=brain, fetal_head or lungs'
        )


def _describe_contradictions(config: Config) -> Iterator[str]:
    told, asked = config.describe, config.task is Task.describe
    if asked and not (told.organ or "").strip():
        yield 'task=describe describes an organ: add organ=liver, and modality="abdominal CT" or another'
    if asked and not config.vdt.llm.model:
        yield (
            "task=describe asks a language model: add vdt.llm.model=NAME, and vdt.llm.base_url=URL of its server "
            "unless that is OpenAI's"
        )
    if asked and told.file is not None and Path(told.file).suffix.lower() not in (".yaml", ".yml"):
        yield f"describe.file={told.file} will be YAML: call it .yaml"
    if not asked and (told.organ or told.modality or told.file):
        yield f"describe.organ={told.organ} is for task=describe, and task={config.task} asks no language model"


def explorable(config: Config) -> bool:
    """Whether a run's configuration is one that task=explore can go on from."""
    return not any(_explore_contradictions(replace(config, task=Task.explore, tuned=None)))


def _explore_contradictions(config: Config) -> Iterator[str]:
    if config.task is not Task.explore:
        return
    if config.method not in ("salip", "sam_clip"):
        yield f"task=explore shows how CLIP ranks candidates, and method={config.method} has no ranking: take salip"
    if config.vdt.parts:
        yield f"task=explore changes one set of sentences, and vdt={config.vdt.name} has several: take vdt=custom"
    if config.tuned is not None or config.tuning.sampler is not Sampler.none:
        yield "task=explore changes the settings that a search sets: leave out tuned and tuning, and type its values"
    if config.dataset.files.labels is not None:
        yield "task=explore shows one organ: use dataset.files.label in place of dataset.files.labels"


def _cache_contradictions(config: Config) -> Iterator[str]:
    cache = config.cache
    asked = ["cache.prune=true"] if cache.prune else []
    asked += [f"cache.older_than_days={cache.older_than_days}"] if cache.older_than_days is not None else []
    if cache.clear and asked:
        yield f"cache.clear=true and {asked[0]} exclude each other: everything, or a part"
    asked += ["cache.clear=true"] if cache.clear else []
    if asked and config.task is not Task.cache:
        yield f"{asked[0]} removes what is kept between runs, which task={config.task} does not: add task=cache"
    if config.task is Task.cache and cache.mode is not CacheMode.disk:
        yield f"task=cache shows what is kept on disk, and cache={cache.mode} keeps nothing there: use cache=disk"
    if cache.folder == "":
        yield "cache.folder is empty: name a folder, or leave it out"


def _experiment_contradictions(config: Config) -> Iterator[str]:
    chosen = config.experiment
    if config.task is not Task.experiment:
        if chosen.name is not None:
            yield f"+experiment={chosen.name} and task={config.task} exclude each other: leave one out"
        return
    if chosen.name is None or not chosen.parts:
        yield "task=experiment names no table or figure: write +experiment=table1 (see --help for the others)"
    parts = [*definitions.parts(), definitions.FAILURES]
    for part in chosen.parts:
        if part not in parts:
            yield f"experiment.parts holds {part}, which is none of {', '.join(parts)}"
    for name in ("datasets", "stress"):
        known = definitions.sources() if name == "datasets" else CORRUPTIONS
        for each in getattr(chosen.failures, name):
            if each not in known:
                yield f"experiment.failures.{name} holds {each}, which is none of {', '.join(known)}"
    if config.data is not Data.real and chosen.images != Images():
        yield "experiment.images is of real images, and data=real was not asked for: write dataset.limit=N"
    if definitions.FAILURES in chosen.parts and config.stress is not None:
        yield f"stress={config.stress} is for runs: experiment.failures.stress and .severities say what cells are under"


def _seeds_contradictions(config: Config) -> Iterator[str]:
    seeds, data = config.seeds, config.dataset
    if not seeds:
        return
    if config.task is not Task.run:
        yield f"seeds={seeds} are for runs, and task={config.task} takes one: use seed={seeds[0]}"
    if len(set(seeds)) < max(2, len(seeds)):
        yield f"seeds={seeds} shows no spread: give two seeds or more, each once"
    drawn = data.sample is not None or config.stress is not None
    if not drawn and not METHODS[config.method].trained and not tuning.searches(config):
        yield (
            f"seeds={seeds} would all give the same numbers, as nothing in this run is drawn: add dataset.sample=N, "
            "tuning=random or method=unet, or leave them out"
        )


def _organs_contradictions(config: Config) -> Iterator[str]:
    found = list(organs.contradictions(config))
    yield from found
    for name, alone in ({} if found else organs.of_organs(config)).items():
        for each in (*_out_of_range(alone.dataset, "dataset."), *_contradictions(alone)):
            yield f"dataset.files.labels, {name}: {each}"


def _clip_contradictions(config: Config) -> Iterator[str]:
    """A CLIP that lacks what the method asks, said before it is fetched; one by address is looked into once it is."""
    traits, name = METHODS[config.method], config.clip.name
    if traits.clips and name not in traits.clips and ":" not in name:
        fitting = " or ".join(f"clip={each}" for each in traits.clips)
        yield f"method={config.method} asks more of its CLIP than clip={name} has: take {fitting}"
    if traits.clip and not traits.clips and name in METHODS["grounded_sam"].clips:
        yield f"clip={name} finds what a sentence names and embeds no pictures: method=grounded_sam asks it"


def _training_contradictions(config: Config) -> Iterator[str]:
    traits = METHODS[config.method]
    if config.task is Task.train and not traits.trained:
        yield f"task=train and method={config.method} exclude each other: only method=unet is trained"
    if config.tuned is not None and not traits.sam:
        yield f"tuned={config.tuned} has settings of SAM, and method={config.method} has no SAM: leave it out"
    if not traits.trained:
        return
    if config.task is Task.train and config.unet.weights is not None:
        yield f"unet.weights={config.unet.weights} is for runs, and task=train makes weights of its own: leave it out"
    yield from _unet_shape(config)
    if config.unet.val + config.unet.test >= 1:
        yield (
            f"unet.val={config.unet.val} and unet.test={config.unet.test} leave nothing to learn from: their sum must "
            "be below 1"
        )


def _unet_shape(config: Config) -> Iterator[str]:
    side, levels = config.unet.side, len(config.unet.channels)
    if levels < 2:
        yield f"unet.channels={config.unet.channels} is no U-Net: give two levels or more, e.g. [16,32,64,128]"
        return
    step = 2 ** (levels - 1)
    if side % step or side < 2 * step:
        yield (
            f"unet.side={side} cannot be halved {levels - 1} times, for the {levels} levels of unet.channels: take a "
            f"multiple of {step}, {2 * step} or more"
        )
