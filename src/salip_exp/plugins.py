"""What other installed packages add: data sets, methods, views and scores, found by entry points.

A package says in its own metadata, for example in setup.cfg:

    [options.entry_points]
    salip_exp.methods =
        threshold = my_package:threshold

It is imported when that name is asked for, and never because a configuration file names a module.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from salip_exp.errors import EnvironmentFault

Kind = Literal["datasets", "methods", "views", "scores"]
KINDS: tuple[Kind, ...] = ("datasets", "methods", "views", "scores")


@cache
def installed(kind: Kind) -> Mapping[str, EntryPoint]:
    """What is installed of a kind, by name and in the order of names; nothing is imported.

    Raises:
        EnvironmentFault: two packages give one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=f"salip_exp.{kind}"), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise EnvironmentFault(
                f"two packages call one of their {kind} {entry.name} ({other.value} and {entry.value}): uninstall one"
            )
    return found


def load(kind: Kind, name: str) -> Any:
    """What an installed package gives under a name.

    Raises:
        EnvironmentFault: it cannot be imported.
    """
    entry = installed(kind)[name]
    try:
        return entry.load()
    except Exception as error:  # it is somebody else's code, and may fail in any way
        raise EnvironmentFault(
            f"{name} of salip_exp.{kind} cannot be imported from {entry.value} ({type(error).__name__}: {error}): "
            "mend or uninstall that package"
        ) from error


def config_folders() -> list[Path]:
    """The folder `conf/` of every package that adds something, where it has one: Hydra finds their YAML there."""
    roots = {entry.module.partition(".")[0] for kind in KINDS for entry in installed(kind).values()}
    specs = [find_spec(root) for root in sorted(roots)]
    places = [Path(place) / "conf" for spec in specs if spec for place in spec.submodule_search_locations or ()]
    return [place for place in places if place.is_dir()]
