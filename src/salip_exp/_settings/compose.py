"""Composing the configuration: Hydra's complaints turned into one sentence each, and code that a file names refused.

Hydra runs what its own section says (callbacks, launcher, sweeper, logging), and a YAML file may come from anywhere:
whatever is not Hydra's own is refused before Hydra begins. The rest of the configuration is only ever read as plain
values (`validate.py`), so nothing that it names is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from salip_exp._settings import folders  # noqa: F401  (config.yaml names runs by its resolver)
from salip_exp._settings.validate import first_line, unknown_key, wrong_value
from salip_exp.config import Config
from salip_exp.errors import ConfigError
from salip_exp.plugins import config_folders

# The root alone: a schema in a group would show up as one of its options.
ConfigStore.instance().store("config_schema", node=Config)

FAULTS = (HydraException, OmegaConfBaseException, YAMLError, RecursionError, ValueError, TypeError, AssertionError)
"""What Hydra raises while it composes; the last three where an override is odd in a way that it does not foresee."""

VERSION_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
"""What Hydra 1.3 must be told, whose own defaults are those of 1.1; 1.4 has one set of defaults and complains of it."""

SENTENCES = {
    r"append to your default list use \+(\S+)": "{0} needs a plus: write +{0}",
    r"Multiple values for (\w+)": "{0}=... takes no plus: it is chosen already, so write {0}=OPTION",
    r"Ambiguous value for argument '(.+?)'": "{0} has several values: -m runs each, quotes make one value of them",
    r"Could not override '(hydra\.[^']+)'": "{0} is not a key of Hydra: --cfg hydra lists them",
}


class _InstalledConfigs(SearchPathPlugin):
    """Lets Hydra find the YAML of installed packages: after the program's own, so that it replaces none of that."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder `conf/` of each."""
        for folder in config_folders():
            search_path.append("installed packages", f"file://{folder}")


Plugins.instance().register(_InstalledConfigs)


def compose(overrides: Sequence[str]) -> DictConfig:
    """The configuration that overrides give, as `python -m salip_exp --cfg job` shows it.

    Raises:
        ConfigError: an override cannot be read, or names a key or an option that does not exist.
    """
    state = GlobalHydra.instance()
    job, state.hydra = state.hydra, None  # inside a job Hydra refuses to compose until the job's own is put aside
    try:
        with hydra.initialize_config_module("salip_exp.conf", **VERSION_BASE):
            return hydra.compose("config", list(overrides))
    except FAULTS as error:
        raise explain(error) from error
    finally:
        GlobalHydra.instance().hydra = job


def explain(error: Exception) -> ConfigError:
    """What Hydra or OmegaConf complains about, as one sentence."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return ConfigError(_unknown_option(error.missing_cfg_file, error.options))
    if isinstance(error, OverrideParseException):
        return ConfigError(f"{error.override} cannot be read as KEY=VALUE: put what holds blanks or commas in quotes")
    text = " ".join(str(error).split())
    for pattern, sentence in SENTENCES.items():
        if found := re.search(pattern, text):
            return ConfigError(sentence.format(found[1]))
    if found := re.search(r"Could not override '([^']+)'", text):
        return ConfigError(unknown_key(found[1]))
    if found := re.search(r"Error merging override \+*([\w.]+)=(.*)", first_line(error)):
        return ConfigError(wrong_value(*found.groups()))
    return ConfigError(f"the configuration cannot be composed: {first_line(error.__cause__ or error)}")


def _unknown_option(path: str, options: Sequence[str]) -> str:
    group, _, name = path.rpartition("/")
    near = get_close_matches(name, options, n=1, cutoff=0.0)[0]
    return f"{group}={name} does not exist: the nearest is {group}={near} (there are {', '.join(options)})"


_RUN_BY_HYDRA = ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging")
OWN = {
    "_target_": re.compile(r"(hydra\._internal\.core_plugins|hydra\.experimental\.callbacks|hydra_plugins)\.[\w.]+"),
    "()": re.compile(r"colorlog\.[\w.]+"),
    "class": re.compile(r"logging\.[\w.]+"),
}
"""What may stand behind the keys by which Hydra, and Python's logging, are told what to call."""


def refuse_foreign_code(arguments: Sequence[str]) -> None:
    """Compose the configuration as Hydra will, and look at what it would run.

    Args:
        arguments: of the command line, flags included.

    Raises:
        ConfigError: a key of Hydra's names code that is not Hydra's, or another configuration is to take the place of
            the program's.
    """
    # Hydra has no public way to read its flags, and a reading of our own could differ: what differs would slip through.
    told = get_args_parser().parse_args(list(arguments))
    if told.config_path is not None or told.config_name is not None:
        raise ConfigError(
            "--config-path and --config-name would replace the configuration of salip_exp: add files of your own by "
            "--config-dir=DIR, and choose them as GROUP=OPTION"
        )
    overrides = [*told.overrides, *_searchpath(told.config_dir, told.overrides)]
    if not _of_hydra(overrides, "") and not config_folders():
        return  # the program's own files name nothing foreign, and plain keys never reach Hydra's section
    for each in _each(overrides):
        for key, value in _foreign(each):
            raise ConfigError(f"{key}={value} names code that is not Hydra's own, and is not run: leave it out")


def _searchpath(config_dir: str | None, overrides: Sequence[str]) -> list[str]:
    """The override that has the effect of --config-dir."""
    if config_dir is None:
        return []
    if _of_hydra(overrides, ".searchpath"):
        raise ConfigError("--config-dir and hydra.searchpath exclude each other: list all folders in the latter")
    return [f"hydra.searchpath={json.dumps([f'file://{Path(config_dir).absolute()}'], ensure_ascii=False)}"]


def _of_hydra(overrides: Sequence[str], key: str) -> bool:
    return any(each.lstrip("+~").startswith(f"hydra{key}") for each in overrides)


def _each(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Overrides with one value for each key. Of several (`-m`) every value comes once, beside the first of the others:
    none of them can name code that it does not hold."""
    try:
        parsed = _parser(overrides).parse_overrides(list(overrides))
    except FAULTS:
        return  # Hydra says what it cannot read
    choices = [_choices(each, text) for each, text in zip(parsed, overrides, strict=True)]
    firsts = [each[0] for each in choices]
    yield firsts
    for position, values in enumerate(choices):
        for value in values[1:]:
            yield [*firsts[:position], value, *firsts[position + 1 :]]


def _parser(overrides: Sequence[str]) -> OverridesParser:
    """One that knows the options that `glob(...)` stands for, unless there are folders in which it would not look."""
    if _of_hydra(overrides, ".searchpath"):
        return OverridesParser.create()
    with hydra.initialize_config_module("salip_exp.conf", **VERSION_BASE):
        return OverridesParser.create(GlobalHydra.instance().config_loader())


def _choices(override: Override, text: str) -> list[str]:
    if not override.is_sweep_override():
        return [text]
    key = text.partition("=")[0]
    try:
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    except HydraException as error:
        raise ConfigError(f"{text} cannot be looked at beside folders of your own: list its values") from error


def _foreign(overrides: list[str]) -> Iterator[tuple[str, Any]]:
    try:
        with hydra.initialize_config_module("salip_exp.conf", **VERSION_BASE):
            cfg = hydra.compose("config", overrides, return_hydra_config=True)
    except FAULTS as error:
        raise explain(error) from error  # what cannot be looked at is not run
    for name in _RUN_BY_HYDRA:
        yield from _walk(_plain(cfg, name), f"hydra.{name}")


def _plain(cfg: DictConfig, name: str) -> Any:
    """A section of Hydra's as plain values; with its references as they are written where they lead nowhere yet."""
    section = cfg.hydra[name]
    if not OmegaConf.is_config(section):
        return section
    try:
        return OmegaConf.to_container(section, resolve=True)
    except OmegaConfBaseException:
        return OmegaConf.to_container(section, resolve=False)


def _walk(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, str) and node.startswith("${") and not node.startswith("${hydra."):
        yield key, node
    if isinstance(node, list):
        for position, each in enumerate(node):
            yield from _walk(each, f"{key}[{position}]")
    if isinstance(node, dict):
        for name, value in node.items():
            own = OWN.get(str(name))
            if own is not None and not (isinstance(value, str) and own.fullmatch(value)):
                yield f"{key}.{name}", value
            yield from _walk(value, f"{key}.{name}")
