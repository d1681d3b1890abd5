"""What files and arguments may say to Hydra itself, and what files from elsewhere may say at all.

Hydra runs what its own section says (callbacks, launcher, sweeper, logging), sets variables of the environment, and
opens files that it names; and a YAML file may come from anywhere. So that section holds what Hydra and this program
have there, and beside it only plain values of a list; anything else is refused before Hydra begins. The rest of the
configuration is only ever read as plain values (`validate.py`), so nothing that it names is run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import hydra
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from salip_exp._files import YAML, TooLarge, bounded_yaml, read_file
from salip_exp._secrets import LLM_KEY, keep
from salip_exp._settings.compose import FAULTS, INSTALLED, VERSION_BASE, explain
from salip_exp._settings.folders import key_of
from salip_exp.errors import ConfigError
from salip_exp.plugins import config_folders

_PLAIN = re.compile(
    r"hydra\.(run\.dir|sweep\.(dir|subdir)|mode|verbose|job\.name|sweeper\.(max_batch_size|params(\..+)?))"
)
"""Keys of Hydra's section that a file may set to a plain value."""
_TYPED = re.compile(r"hydra\.(searchpath|output_subdir|(launcher|sweeper)\.[\w.]+)")
"""Those that an argument may set, too."""
_GROUPS = re.compile(r"hydra/(launcher|sweeper|job_logging|hydra_logging|help|hydra_help|output|env)")
"""Groups of Hydra's that an argument may choose from; options are Hydra's own or an installed plugin's."""
_CALLS = re.compile(r"\$\{[^{}]*:")
"""A resolver called in a value: `${oc.env:NAME}` and the like, but not `${sam.name}`."""
_REFERS = re.compile(r"\$\{[^{}:]*\}")
"""A reference to a key, which may stand in the name of a resolver."""
_DEEP = 10
"""References within references."""
_SERVER = "vdt.llm.base_url"
"""The address that the key for language models is sent to."""
_UNDERSCORED = re.compile(r"(^|[.{,\s'\"])_\w+_($|[.:\s'\"])")
"""A key by which Hydra is told what to call (`_target_`, `_args_`)."""
_WAYS_AROUND = ("config_path", "config_name", "experimental_rerun")

_read: list[str] = []
"""Files from elsewhere that were read since the configuration was looked at last."""


class _Looked:
    """Looks at every file that Hydra reads but Hydra's and the program's own."""

    path: str

    def load_config(self, config_path: str) -> ConfigResult:
        """What the file says, its addresses with hidden passwords.

        Raises:
            ConfigError: it calls a resolver, or belongs to one of Hydra's groups.
        """
        result: ConfigResult = super().load_config(config_path)  # type: ignore[misc]  # of the source beside it
        if self.path in ("hydra.conf", "salip_exp.conf") or self.path.startswith("hydra_plugins."):
            return result
        place = f"{self.path}/{config_path}"
        _read.append(place)
        if config_path.lstrip("/").startswith("hydra/"):
            raise ConfigError(f"{place} is an option of Hydra's own section, which files may not bring: remove it")
        if OmegaConf.is_config(result.config):
            result.config = OmegaConf.create(_checked(OmegaConf.to_container(result.config), place))
        return result


def _checked(node: Any, place: str) -> Any:
    if isinstance(node, dict):
        return {key: _checked(value, place) for key, value in node.items()}
    if isinstance(node, list):
        return [_checked(each, place) for each in node]
    if isinstance(node, str) and _calls(node):
        raise ConfigError(
            f"{place} holds {node}: files may refer to other keys, but read no variables and call nothing; write the "
            "value, or give it on the command line"
        )
    return keep(node) if isinstance(node, str) else node


def _calls(text: str) -> bool:
    """Whether a text calls a resolver once the references within it are something."""
    for _ in range(_DEEP):
        if _CALLS.search(text) or not _REFERS.search(text):
            break
        text = _REFERS.sub("x", text)
    return _CALLS.search(text) is not None or _REFERS.search(text) is not None


class _Folder(_Looked, FileConfigSource):
    """A folder of files."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        for name in _own_files() if provider != INSTALLED else ():  # those come last, and replace nothing
            if Path(self.path, name).exists():
                raise ConfigError(
                    f"{Path(self.path, name)} has the name of a file of salip_exp's or Hydra's, which it does not "
                    "replace: give it another"
                )

    def load_config(self, config_path: str) -> ConfigResult:
        """What a file says, if it is a regular one of a size and depth that people write.

        Raises:
            ConfigError: it is none, or says what `_Looked` refuses.
        """
        path = Path(self.path, self._normalize_file_name(config_path))
        try:
            if path.exists():  # else Hydra says which it looked for
                bounded_yaml(read_file(path, YAML))
            return super().load_config(config_path)
        except (OSError, TooLarge) as error:  # OSError is also what OmegaConf says of a file that is a single value
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ConfigError(f"the configuration file {path} cannot be read ({reason}): mend or remove it") from error


class _Package(_Looked, ImportlibResourcesConfigSource):
    """The files of a package."""


# Where a launcher starts a job in another process, Hydra registers its own, and leaves these alone for their names.
_Folder.__name__, _Package.__name__ = FileConfigSource.__name__, ImportlibResourcesConfigSource.__name__
SourcesRegistry.instance().types |= {"file": _Folder, "pkg": _Package}


def _own_files() -> list[str]:
    """Of the program, relative to its configuration; and Hydra's folder."""
    own = Path(str(files("salip_exp.conf")))
    return ["hydra", *sorted(str(path.relative_to(own)) for path in own.rglob("*.yaml"))]


def refuse_foreign_code(arguments: Sequence[str]) -> None:
    """Compose the configuration as Hydra will, and look at what its own section would hold.

    Args:
        arguments: of the command line, flags included.

    Raises:
        ConfigError: a file or an argument sets what it may not set, or another configuration is to take the place of
            the program's.
    """
    # Hydra has no public way to read its flags, and a reading of our own could differ: what differs would slip through.
    told = get_args_parser().parse_args(list(arguments))
    if any(getattr(told, name, None) is not None for name in _WAYS_AROUND):
        raise ConfigError(
            "--config-path, --config-name and --experimental-rerun would replace the configuration of salip_exp: add "
            "files of your own by --config-dir=DIR, and choose them as GROUP=OPTION"
        )
    overrides = [*told.overrides, *_searchpath(told.config_dir, told.overrides)]
    for each in told.overrides:
        _refuse_argument(each)
    if _of_hydra(overrides, ".searchpath") or _of_hydra(overrides, ".sweeper") or config_folders():
        _refuse_files(overrides)


def _refuse_argument(override: str) -> None:
    """An argument that sets in Hydra's section what no argument may set."""
    key = key_of(override)
    if not re.match(r"hydra($|[./@])", key):
        return
    value = override.partition("=")[2]
    plain = key.startswith("hydra.sweeper.params") or not re.search(r"(?<!\$)\{", value)
    chosen = _GROUPS.fullmatch(key) or _PLAIN.fullmatch(key) or _TYPED.fullmatch(key)
    if not chosen or not plain or _UNDERSCORED.search(key) or _UNDERSCORED.search(value):
        raise ConfigError(_refused(key, f"the argument {override}"))


def _refused(key: str, by: str) -> str:
    return (
        f"{key} is set by {by}, and is not run: it is none of the keys of Hydra's that may be set (run.dir, sweep.dir, "
        "sweep.subdir, mode, verbose, job.name, plain values of sweeper); leave it out"
    )


def _refuse_files(overrides: Sequence[str], swept: bool = False) -> None:
    """What files, wherever they lie, add to Hydra's section; the parameters of a sweep are looked at as arguments."""
    for chosen in _each(overrides):
        _read.clear()
        composed, plain = _composed(chosen), _composed([each for each in chosen if _is_group(each)])
        section, own = composed["hydra"], dict(_leaves(plain["hydra"], "hydra"))
        arguments = {key_of(each) for each in chosen}
        if composed["vdt"]["llm"]["base_url"] is not None and not any(
            f"{_SERVER}.".startswith(f"{each}.") for each in arguments
        ):
            _refuse_server()
        for key, value in _leaves(section, "hydra"):
            if not (own.get(key, _read) == value or any(f"{key}.".startswith(f"{each}.") for each in arguments)):
                _refuse_key(key)
        if not {str(each) for each in section["overrides"]["task"] + section["overrides"]["hydra"]} <= set(chosen):
            _refuse_key("hydra.overrides")
        parameters = [f"{name}={value}" for name, value in (section["sweeper"].get("params") or {}).items()]
        for each in parameters:
            if re.match(r"hydra($|[./@])", key_of(each)):
                _refuse_key(f"hydra.sweeper.params.{key_of(each)}")
            if f"{_SERVER}.".startswith(f"{key_of(each)}."):
                _refuse_server()
        if parameters and not swept:
            _refuse_files([*chosen, *parameters], swept=True)


def _refuse_key(key: str) -> None:
    if not _PLAIN.fullmatch(key) or _UNDERSCORED.search(key) or "params.hydra" in key:
        raise ConfigError(_refused(key, " or ".join(dict.fromkeys(_read)) or "the command line"))


def _refuse_server() -> None:
    if os.environ.get(LLM_KEY):
        by = " or ".join(dict.fromkeys(_read))
        raise ConfigError(f"{_SERVER} is set by {by}, which would be sent {LLM_KEY}: give it on the command line")


def _is_group(override: str) -> bool:
    return _GROUPS.fullmatch(key_of(override)) is not None


def _composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration as it will be, Hydra's section included, with its references as they are written."""
    try:
        with hydra.initialize_config_module("salip_exp.conf", **VERSION_BASE):
            cfg = hydra.compose("config", list(overrides), return_hydra_config=True)
    except FAULTS as error:
        raise explain(error) from error  # what cannot be looked at is not run
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))


_HYDRAS = {"hydra.runtime", "hydra.overrides", "hydra.searchpath", "hydra.job.override_dirname"}
"""What Hydra itself writes there while it composes."""


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every plain value, or list of such, by its dotted key."""
    if key in _HYDRAS:
        return
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}")
    elif isinstance(node, list) and any(isinstance(each, dict | list) for each in node):
        for position, value in enumerate(node):
            yield from _leaves(value, f"{key}[{position}]")
    else:
        yield key, node


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
