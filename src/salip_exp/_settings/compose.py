"""Composing the configuration: Hydra's complaints turned into one sentence each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from salip_exp._settings import folders  # noqa: F401  (config.yaml names runs by its resolver)
from salip_exp._settings.validate import first_line, unknown_key, wrong_value
from salip_exp.config import Config
from salip_exp.errors import ConfigError
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


class _InstalledConfigs(SearchPathPlugin):
    """Lets Hydra find the YAML of installed packages: after the program's own, so that it replaces none of that."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder `conf/` of each."""
        for folder in config_folders():
            search_path.append(INSTALLED, f"file://{folder}")


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


_PLUGINS = {
    **dict.fromkeys(["launcher/submitit_slurm", "launcher/submitit_local"], "hydra-submitit-launcher"),
    **{f"launcher/{name}": f"hydra-{name}-launcher" for name in ("joblib", "ray", "rq")},
    **{f"sweeper/{name}": f"hydra-{name}-sweeper" for name in ("optuna", "ax", "nevergrad")},
}
"""Options of Hydra's own groups that come with packages of Hydra's makers."""


def _unknown_option(path: str, options: Sequence[str]) -> str:
    group, _, name = path.rpartition("/")
    if package := _PLUGINS.get(path.removeprefix("hydra/")):
        return f"{group}={name} is a plugin of Hydra's, which is not installed: pip install {package}"
    near = get_close_matches(name, options, n=1, cutoff=0.0)[0]
    own = "; of another organ say how it looks: vdt.sentences='[\"...\"]'" if group == "vdt" else ""
    return f"{group}={name} does not exist: the nearest is {group}={near} (there are {', '.join(options)}){own}"
