"""`dataset.files.labels`: the organs of one set of masks, each a run of its own, with its label, `k` and text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from salip_exp.cascade.sentences import read_texts, sets_in
from salip_exp.config import Config, Task, VdtConfig
from salip_exp.errors import ConfigError
from salip_exp.methods.traits import METHODS
from salip_exp.plugins import config_folders

_KEY = "dataset.files.labels"
_TAKES = f"{_KEY} takes names with a label each, such as {{liver: 1, kidneys: {{label: 2, k: 2}}}}, or a list of labels"
_NAME = re.compile(r"[^\W_][\w .+-]*")
"""What names a folder, too."""


@dataclass(frozen=True)
class Organ:
    """One of `dataset.files.labels`.

    Attributes:
        name: of the organ, of its folder, and of its text.
        label: its number or its name, as `dataset.files.label` takes it.
        k: how many an image holds.
        text: its own sentences or file; None where it is looked for elsewhere.
    """

    name: str
    label: int | str
    k: int
    text: VdtConfig | None = None


def organs(config: Config) -> list[Organ]:
    """The organs that are asked for, in their order; none where `dataset.files.labels` is not set.

    Raises:
        ConfigError: it is not understood.
    """
    asked = config.dataset.files.labels
    if asked is None:
        return []
    if isinstance(asked, list):
        asked = {str(each): each for each in asked}
    if not isinstance(asked, Mapping) or not asked:
        raise ConfigError(f"{_TAKES}: not {asked}")
    found = [_organ(str(name), value, config.dataset.k) for name, value in asked.items()]
    wrong = next((each.name for each in found if not _NAME.fullmatch(each.name)), None)
    if wrong is not None:
        raise ConfigError(f"{_KEY}: {wrong!r} is to name a folder: use letters, digits, blanks, _ and -")
    if len({each.name.casefold() for each in found}) < len(found) or len({each.label for each in found}) < len(found):
        raise ConfigError(f"{_KEY}={asked} has a name or a label twice: give each once")
    return found


def _organ(name: str, value: Any, k: int) -> Organ:
    told = dict(value) if isinstance(value, Mapping) else {"label": value}
    label, own = told.pop("label", name), told.pop("k", k)
    text = {key: told.pop(key) for key in ("sentences", "file") if told.get(key) is not None}
    plain = not isinstance(label, bool) and isinstance(label, int | str) and type(own) is int
    if told or not plain:
        raise ConfigError(f"{_TAKES}: not {name}: {value}; an organ has label, k, and sentences or file")
    return Organ(name, label, own, VdtConfig(name=name, **text) if text else None)


def of_organs(config: Config) -> dict[str, Config]:
    """The configuration of each organ's run by its name; none where `dataset.files.labels` is not set.

    Its text is its own in `dataset.files.labels`; else the class of its name in `vdt.file`; else the set of
    sentences of its name that is shipped. One text for all organs is none.

    Raises:
        ConfigError: the key is not understood, or an organ has no text and the method wants one.
    """
    return {each.name: _alone(config, each) for each in organs(config)}


def _alone(config: Config, organ: Organ) -> Config:
    data = config.dataset
    files_ = replace(data.files, label=organ.label, labels=None)
    vdt = _text(config, organ) if METHODS[config.method].clip else config.vdt
    return replace(config, dataset=replace(data, files=files_, k=organ.k, roi=organ.name), vdt=vdt)


def _text(config: Config, organ: Organ) -> VdtConfig:
    if organ.text is not None:
        found: VdtConfig | None = organ.text
    elif config.vdt.file is not None:
        found = VdtConfig(name=organ.name, file=config.vdt.file) if organ.name in sets_in(config.vdt.file) else None
    else:
        found = None if config.vdt.sentences or config.vdt.parts else _shipped(organ.name)
    if found is None:
        raise ConfigError(
            f"{_KEY}: {organ.name} has no text of its own, which method={config.method} asks CLIP for: give "
            f"vdt.file=FILE.json with a list of sentences by organ, or {{{organ.name}: {{label: "
            f"{organ.label}, sentences: [...]}}}}"
        )
    read_texts(found)
    return found


def _shipped(name: str) -> VdtConfig | None:
    """The set of sentences of a name in `conf/vdt`."""
    sentences = _sets().get(name)
    return VdtConfig(name=name, sentences=list(sentences)) if sentences else None


@cache
def _sets() -> dict[str, list[str]]:
    """The sentences of each set in `conf/vdt`, that of the package and those of installed ones, by name."""
    folders = [each / "vdt" for each in (files("salip_exp.conf"), *config_folders())]
    found = [each for folder in folders if folder.is_dir() for each in folder.iterdir() if each.name.endswith(".yaml")]
    contents = {each.name.removesuffix(".yaml"): yaml.safe_load(each.read_text("utf-8")) for each in found}
    return {name: content.get("sentences") or [] for name, content in contents.items()}


def with_file(vdt: VdtConfig) -> VdtConfig:
    """The text, in which a file takes the place of a set of `conf/vdt`; sentences that were typed stay."""
    replaced = vdt.file is not None and vdt.sentences in _sets().values()
    return replace(vdt, sentences=[]) if replaced else vdt


def contradictions(config: Config) -> Iterator[str]:
    """What cannot be asked of several organs at once, a sentence each."""
    data, asked = config.dataset, config.dataset.files.labels
    if asked is None:
        return
    if data.files.label is not None:
        yield f"dataset.files.label={data.files.label} and {_KEY} exclude each other: one organ, or several"
    if config.seeds:
        yield f"seeds={config.seeds} and {_KEY} exclude each other: several seeds of one organ, or one of several"
    if config.task in (Task.tune, Task.train, Task.experiment):
        yield f"{_KEY} is for runs, and task={config.task} takes one organ: use dataset.files.label"
    if len(organs(config)) < 2:
        yield f"{_KEY}={asked} is one organ: use dataset.files.label and dataset.roi"
