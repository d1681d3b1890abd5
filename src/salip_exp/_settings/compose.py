"""Composing the configuration: Hydra's complaints turned into one sentence each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from salip_exp._settings import folders  # config.yaml names runs by its resolver, too
from salip_exp._settings.validate import first_line, unknown_key, wrong_value
from salip_exp.config import Config
from salip_exp.errors import ConfigError
from salip_exp.networks.registry import HUB
from salip_exp.plugins import config_folders

# The root alone: a schema in a group would show up as one of its options.
ConfigStore.instance().store("config_schema", node=Config)

FAULTS = (
    *(HydraException, OmegaConfBaseException, YAMLError),
    *(RecursionError, ValueError, OverflowError, TypeError, AssertionError, LookupError, AttributeError),
)
"""What Hydra raises while it composes; the last where an override is odd in a way that it does not foresee."""

VERSION_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
"""What Hydra 1.3 must be told, whose own defaults are those of 1.1; 1.4 has one set of defaults and complains of it."""

SENTENCES = {
    r"append to your default list use \+(\S+)": "{0} needs a plus: write +{0}",
    r"Multiple values for (\w+)": "{0}=... takes no plus: it is chosen already, so write {0}=OPTION",
    r"Ambiguous value for argument '(.+?)'": "{0} has several values: -m runs each, quotes make one value of them",
    r"Could not override '(hydra\.[^']+)'": "{0} is not a key of Hydra: --cfg hydra lists them",
}


INSTALLED = "installed packages"
"""Who gives a folder of files, as Hydra's search path tells it."""


class _HubNames(ConfigSource):
    """The option `hf:owner/name` of the groups `sam` and `clip`, whatever owner and name are: its name is all it sets.

    A hub's networks are too many for a file each. Hydra asks for the methods below.
    """

    @staticmethod
    def scheme() -> str:
        return "hubs"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return False

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.partition("/")
        return group in ("sam", "clip") and HUB.fullmatch(name) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.partition("/")[2]
        return ConfigResult(self.provider, self.full_path(), OmegaConf.create({"name": name}), header={"package": None})

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []


class _MoreConfigs(SearchPathPlugin):
    """Lets Hydra find the YAML of installed packages, and networks of a hub: after the program's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder `conf/` of each package."""
        for folder in config_folders():
            search_path.append(INSTALLED, f"file://{folder}")
        search_path.append("hub", "hubs://")


for _plugin in (_HubNames, _MoreConfigs):
    Plugins.instance().register(_plugin)


def compose(overrides: Sequence[str]) -> DictConfig:
    """The configuration that overrides give, as `python -m salip_exp --cfg job` shows it.

    Raises:
        ConfigError: an override cannot be read, or names a key or an option that does not exist.
    """
    state = GlobalHydra.instance()
    job, state.hydra = state.hydra, None  # inside a job Hydra refuses to compose until the job's own is put aside
    try:
        with hydra.initialize_config_module("salip_exp.conf", **VERSION_BASE):
            try:
                return hydra.compose("config", list(overrides))
            except (AssertionError, ValueError, ConfigCompositionException) as error:  # none says what is null
                raise _one_to_blame(overrides, error) or error from error
    except FAULTS as error:
        raise explain(error) from error
    finally:
        GlobalHydra.instance().hydra = job


def _one_to_blame(overrides: Sequence[str], error: Exception) -> ConfigError | None:
    """Of the override without which the others compose, what cannot be; None where there is no such one, or where
    Hydra knows more of it.
    """
    for each in sorted(overrides, key=lambda override: -folders.key_of(override).count(".")):
        names = folders.key_of(each).split(".")
        section = ".".join(names[:-1])  # others below it fail for the same reason
        beside = [other for other in overrides if section and folders.key_of(other).startswith(f"{section}.")]
        try:
            rest = hydra.compose("config", [other for other in overrides if other not in (each, *beside)])
        except FAULTS:
            continue
        above = (".".join(names[:n]) for n in range(1, len(names)))
        null = next((name for name in above if OmegaConf.select(rest, name, default=0) is None), None)
        if null is None and isinstance(error, HydraException):
            return None
        return ConfigError(f"{each} cannot be set: {first_line(error) if null is None else f'{null} is null here'}")
    return None


def explain(error: Exception) -> ConfigError:
    """What Hydra or OmegaConf complains about, as one sentence."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return ConfigError(_unknown_option(error.missing_cfg_file, error.options))
    if isinstance(error, OverrideParseException):
        how = "no blanks around =, and quotes around what holds blanks or commas"
        return ConfigError(f"{error.override} cannot be read as KEY=VALUE: {how}")
    text = " ".join(str(error).split())
    for pattern, sentence in SENTENCES.items():
        if found := re.search(pattern, text):
            return ConfigError(sentence.format(found[1]))
    if found := re.search(r"Could not override '([^']+)'", text):
        return ConfigError(unknown_key(found[1]))
    if found := re.search(r"Error merging override \+*([\w.]+)=(.*)", first_line(error)):
        return ConfigError(wrong_value(*found.groups()))
    return ConfigError(f"the configuration cannot be composed: {first_line(error.__cause__ or error)}")


_PLUGINS = {
    **dict.fromkeys(["launcher/submitit_slurm", "launcher/submitit_local"], "hydra-submitit-launcher"),
    **{f"launcher/{name}": f"hydra-{name}-launcher" for name in ("joblib", "ray", "rq")},
    **{f"sweeper/{name}": f"hydra-{name}-sweeper" for name in ("optuna", "ax", "nevergrad")},
}
"""Options of Hydra's own groups that come with packages of Hydra's makers."""


_BESIDE = {
    "vdt": "; of another organ say how it looks: vdt.sentences='[\"...\"]'",
    **dict.fromkeys(("sam", "clip"), "; one of the hub is called hf:OWNER/NAME"),
}
"""What else there is than the options of a group."""


def _unknown_option(path: str, options: Sequence[str]) -> str:
    group, _, name = path.rpartition("/")
    if package := _PLUGINS.get(path.removeprefix("hydra/")):
        return f"{group}={name} is a plugin of Hydra's, which is not installed: pip install {package}"
    near = get_close_matches(name, options, n=1, cutoff=0.0)[0]
    own = _BESIDE.get(group, "")
    return f"{group}={name} does not exist: the nearest is {group}={near} (there are {', '.join(options)}){own}"
