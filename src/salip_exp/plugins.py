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
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Generic, Literal, TypeVar, cast

from salip_exp.errors import ConfigError, EnvironmentFault

_T = TypeVar("_T")

_Kind = Literal["datasets", "methods", "views", "scores"]
KINDS: tuple[_Kind, ...] = ("datasets", "methods", "views", "scores")


class Catalogue(Generic[_T]):
    """What there is of a kind, by name: what is built in, and what installed packages give.

    Args:
        kind: of the entry points `salip_exp.<kind>`.
        shape: class of each.
        built_in: by name; a text is the dotted name of one, which is imported when it is asked for.
    """

    def __init__(self, kind: _Kind, shape: type[_T], built_in: Mapping[str, _T | str]) -> None:
        self.kind = kind
        self.shape = shape
        self.built_in = built_in

    @property
    def names(self) -> list[str]:
        """All names, those that are built in first.

        Raises:
            EnvironmentFault: a package gives a name that is built in, or two packages give one.
        """
        others = installed(self.kind)
        for name in others.keys() & self.built_in.keys():
            raise EnvironmentFault(
                f"the package that gives {others[name].value} calls one of its {self.kind} {name}, which is the name "
                "of a built-in one: rename it there, or uninstall that package"
            )
        return [*self.built_in, *others]

    def __getitem__(self, name: str) -> _T:
        """What has this name.

        Raises:
            ConfigError: nothing has.
            EnvironmentFault: a package gives it, and it cannot be imported or is of another class.
        """
        if name in self.built_in:
            built_in: _T = resolved(self.built_in[name])
            return built_in
        if name not in installed(self.kind):
            raise ConfigError(f"{name} is none of the {self.kind} that are installed: {', '.join(self.names)}")
        found = load(self.kind, name)
        if not isinstance(found, self.shape):
            raise EnvironmentFault(
                f"{installed(self.kind)[name].value}, called {name} among salip_exp.{self.kind}, is no "
                f"{self.shape.__name__} of {self.shape.__module__}: mend or uninstall that package"
            )
        return found

    def origin(self, name: str) -> tuple[str, ...]:
        """What a result depends on beside the name: the version of the package that gives it, if one does."""
        return () if name in self.built_in else (_version(self.kind, name),)


def resolved(found: Any) -> Any:
    """A thing, or what is imported by its dotted name `package.module:name`."""
    return resolve_name(found) if isinstance(found, str) else found


@cache
def _all() -> EntryPoints:
    """Of every installed package; it takes a while to read them."""
    return cast(EntryPoints, entry_points())  # of Python 3.12; before, what can be selected from in the same way


@cache
def installed(kind: _Kind) -> Mapping[str, EntryPoint]:
    """What is installed of a kind, by name and in the order of names; nothing is imported.

    Raises:
        EnvironmentFault: two packages give one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(_all().select(group=f"salip_exp.{kind}"), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise EnvironmentFault(
                f"two packages call one of their {kind} {entry.name} ({other.value} and {entry.value}): uninstall one"
            )
    return found


def versions(kind: _Kind) -> list[str]:
    """Name, package and version of what is installed of a kind: another version may give other numbers."""
    return [_version(kind, name) for name in installed(kind)]


def _version(kind: _Kind, name: str) -> str:
    dist = installed(kind)[name].dist
    return f"{name} {dist.name} {dist.version}" if dist else name


def load(kind: _Kind, name: str) -> Any:
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
