"""What the typed schema says about a dotted key: whether it exists, what it takes, and which key is most like it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from salip_exp.cascade.options import VIEWS
from salip_exp.config import Config
from salip_exp.data.datasets import READERS
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
        inner = ", ".join(each.name for each in fields(get_args(hint)[1]))
        return f"names with the keys {inner} each"
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
