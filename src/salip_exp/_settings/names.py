"""What a run is called, everywhere: by what it has other than the default of its data set, in words, with its date."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from salip_exp._paper import columns
from salip_exp._settings.differences import NONE, beyond, flat_config, own_config
from salip_exp.config import Config

DEFAULT = "default"
"""What a run is called that differs in nothing."""
_MOST, _LONG = 6, 40  # words of a name, letters of a value
_NETWORKS = {"sam": "SAM", "clip": "CLIP"}
_VIT = re.compile(r"vit_([a-z])(?:_(\d+))?")
_SAID = {
    "dataset.k": "k = {}",
    "dataset.limit": "first {} cases",
    "dataset.sample": "{} cases drawn",
    "dataset.roi": "{}",
    "dataset.root": "data {}",
    "area.enabled": "filter",
    "confidence.name": "confidence {}",
    "preset": "preset {}",
    "repair.name": "repair {}",
    "sam.points_per_side": "{} points a side",
    "seed": "seed {}",
    "stress": "stress {}",
    "vdt.name": "text {}",
    "vdt.file": "text {}",
    "tuned": "tuned by {}",
    "view.kind": "view {}",
}
"""What keys are called that are often changed; `{}` is the value. Of the others the key itself is told."""
_OPTIONS = {"vdt.name", "view.kind", "stress", "repair.name", "confidence.name", "preset"}
"""Keys whose values are names of options, in which underscores stand for spaces."""
_LAST = ("dataset.limit", "dataset.sample", "seed")
"""Said last, since they tell least of what a run is."""
_NEVER = {"figures"}
"""They change pictures alone."""


def words(folder: Path) -> list[str] | None:
    """What a run folder has other than the default, in words; None where its configuration cannot be read."""
    own = own_config(folder)
    return None if own is None else _words(own)


def words_of(config: Config) -> list[str] | None:
    """The same of a configuration that is still to be run."""
    return _words(flat_config(config))


def called(found: Sequence[str] | None, otherwise: str = DEFAULT) -> str:
    """The name of a run by its words.

    Args:
        found: of `words`.
        otherwise: the name where there are none to be had.
    """
    return otherwise if found is None else ", ".join(found) or DEFAULT


def dated(started: str | None) -> str:
    """The day and the minute of a time, as names have them."""
    return (started or "")[:16].replace("T", " ")


def apart(runs: Iterable[Sequence[str] | None]) -> set[str]:
    """The words that all runs have, by which none is told from the others; none of a single run."""
    known = [set(each) for each in runs if each is not None]
    return set.intersection(*known) if len(known) > 1 else set()


def _words(own: dict[str, Any]) -> list[str] | None:
    found = beyond(own)
    if found is None:
        return None
    named = any(key == "vdt.name" and value != "custom" for key, _, value in found)
    skipped = _NEVER | ({"vdt.sentences", "vdt.file"} if named else {"vdt.name"})
    if any(key == "unet.weights" for key, _, _ in found):  # what they were trained with is theirs, and no setting now
        skipped |= {key for key, _, _ in found if key.startswith("unet.")} - {"unet.weights"}
    found = [each for each in found if each[0] not in skipped]
    said = [(key, _word(key, value)) for key, _, value in found if value != NONE or key in _SAID]
    ordered = [word for key, word in said if key not in _LAST] + [word for key, word in said if key in _LAST]
    more = len(ordered) - _MOST
    return ordered if more <= 0 else [*ordered[:_MOST], f"and {more} more"]


def _word(key: str, value: str) -> str:
    section, _, name = key.rpartition(".")
    if key == "method":
        return _method(value)
    if name == "name" and section in _NETWORKS:
        return f"{_NETWORKS[section]} {_network(value)}"
    if value in ("true", "false"):
        plain = _SAID.get(key) or (section if name == "enabled" else name).replace("_", " ")
        return plain if value == "true" else f"no {plain}"
    if key == "vdt.sentences":
        return _text(value)
    short = _brief(value.replace("_", " ") if key in _OPTIONS else value)
    return _SAID[key].format(short) if key in _SAID else f"{_plain(key)} = {short}"


def _method(name: str) -> str:
    """A method as the paper's tables call it, where they have it."""
    alone = ((f"method={name}",), (f"+ablation={name}",))
    return next((each.title for each in columns().values() if each.overrides in alone), name.replace("_", " "))


def _network(name: str) -> str:
    """A network's name for people: `ViT-B/32` of `vit_b_32`, and any other as it is."""
    found = _VIT.fullmatch(name)
    if found is None:
        return name
    return f"ViT-{found[1].upper()}" + (f"/{found[2]}" if found[2] else "")


def _plain(key: str) -> str:
    """A key as words, its section before it: `area min` of `area.min`."""
    return key.replace(".", " ").replace("_", " ")


def _text(value: str) -> str:
    sentences = yaml.safe_load(value) or []
    return f"“{_brief(str(sentences[0]))}”" if len(sentences) == 1 else f"{len(sentences)} sentences of its own"


def _brief(value: str) -> str:
    """A value short enough for a name: of a path its last part, of a pattern all, as `*` alone says nothing."""
    whole = value.strip("'\"") if "/" in value else value
    short = whole if set(whole) & set("*?[{") else whole.rstrip("/").rsplit("/", 1)[-1]
    return short if len(short) <= _LONG else f"{short[:_LONG]}..."
