"""`tuned.yaml`: a study's winner as configuration, and the images and subjects that it was tuned on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from salip_exp._files import YAML, from_yaml, read_file
from salip_exp._settings.tuning import AREA, GENERATOR
from salip_exp.config import AreaUnit, Config, SamConfig
from salip_exp.errors import ConfigError

VERSION = 1


@dataclass(frozen=True)
class Tuned:
    """What a tuned.yaml says.

    Attributes:
        sam: settings of the generator by name.
        area: threshold and unit; None where the study left it alone.
        dataset: the data set that it was tuned on.
        images: ids of the tuning images.
        subjects: of these images; empty where 0.1.0 wrote the file.
    """

    sam: Mapping[str, Any]
    area: tuple[float, AreaUnit] | None
    dataset: str
    images: tuple[str, ...]
    subjects: tuple[str, ...] = ()


def tuned_yaml(
    config: Config, names: Sequence[str], images: Sequence[str], subjects: Sequence[str], said: Sequence[str]
) -> str:
    """The file's text.

    Args:
        config: with the winner's setting.
        names: dimensions of the study.
        images: ids of the tuning images.
        subjects: of these images.
        said: comment lines: where it came from and how good it is.
    """
    values: dict[str, Any] = {"version": VERSION}
    sam = {name: getattr(config.sam, name) for name in GENERATOR if f"sam.{name}" in names}
    values |= {"sam": sam} if sam else {}
    if AREA in names:
        values["area"] = {"threshold": config.area.threshold, "unit": str(config.area.unit)}
    values["tuned_on"] = {"dataset": config.dataset.name, "images": list(images), "subjects": list(subjects)}
    lines = [f"# {line}" for line in said]
    return "\n".join(lines) + "\n" + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_tuned(path: Path) -> Tuned:
    """The file, checked.

    Raises:
        ConfigError: it cannot be read or is no tuned.yaml.
    """
    try:
        values = from_yaml(read_file(path, YAML))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"tuned={path} cannot be read ({reason}): give the tuned.yaml of a study") from error
    try:
        return _read(values)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(
            f"tuned={path} is no tuned.yaml of version {VERSION} ({type(error).__name__}: {error}): "
            "task=tune writes them"
        ) from error


def with_tuned(config: Config, path: Path) -> Config:
    """The configuration with the file's settings in place of its own.

    Raises:
        ConfigError: the file cannot be used.
    """
    found = read_tuned(path)
    area = config.area
    if found.area is not None:
        area = replace(area, threshold=found.area[0], unit=found.area[1])
    return replace(config, sam=replace(config.sam, **found.sam), area=area)


def _read(values: Any) -> Tuned:
    if values["version"] != VERSION or set(values) - {"version", "sam", "area", "tuned_on"}:
        raise ValueError("other version or keys")
    sam = dict(values.get("sam", {}))
    types = get_type_hints(SamConfig)
    for name, value in sam.items():
        kinds = int if types.get(name) is int else (int, float)
        if name not in GENERATOR or isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            raise ValueError(f"sam.{name}={value}")
    area = values.get("area")
    images, subjects = (_ids(values["tuned_on"], name) for name in ("images", "subjects"))
    threshold = None if area is None else (float(area["threshold"]), AreaUnit(area["unit"]))
    return Tuned(sam, threshold, str(values["tuned_on"]["dataset"]), images, subjects)


def _ids(tuned_on: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Those of the images, or of their subjects, which 0.1.0 did not write."""
    found = tuned_on[name] if name == "images" else tuned_on.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise TypeError(f"tuned_on.{name} is no list of ids")
    return tuple(found)
