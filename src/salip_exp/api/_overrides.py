"""What is given to `SaLIP` as overrides of the configuration, and what of a configuration it can do."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

import numpy as np

from salip_exp._settings.compose import compose
from salip_exp._settings.folders import key_of
from salip_exp._settings.foreign import refuse_foreign_code
from salip_exp._settings.validate import literal, typed
from salip_exp.config import Config, Sampler, Task
from salip_exp.errors import ConfigError
from salip_exp.methods.traits import METHODS

ORGANS = {"brain": ("brain", 1), "fetal head": ("fetal_head", 1), "lungs": ("lungs", 2)}
"""Organs whose sentences come with the package: the option of `vdt`, and how many of them an image holds."""
_WORD = re.compile(r"(?!(?:null|true|false|yes|no|on|off|nan|inf)$)[A-Za-z_][A-Za-z0-9_]*", re.IGNORECASE | re.ASCII)
_OUTSIDE = ["cache=memory", "cache.memory_mb=64", "progress=false"]
"""What is asked for first: nothing is kept on disk, little in memory, for the image at hand; nothing is printed."""
_composing = threading.Lock()  # Hydra's own state is one for the process


def of_organ(organ: str | None, sentences: Sequence[str], keys: Mapping[str, object]) -> list[str]:
    """The overrides of an organ: its sentences and how many of it there are, unless keys say otherwise.

    Raises:
        ConfigError: nothing says how the organ looks.
    """
    vdt, k = ORGANS.get(organ or "", ("custom", 1))
    told: dict[str, object] = {"dataset": "folder", "dataset.k": k, "vdt": "custom" if sentences else vdt}
    told |= {"dataset.roi": organ} if organ is not None else {}
    told |= {"vdt.sentences": list(sentences)} if sentences else {}
    told |= {name.replace("__", "."): value for name, value in keys.items()}
    if told["vdt"] == "custom" and not any(name.startswith("vdt.") for name in told):
        raise ConfigError(
            f"organ={organ!r} has no sentences of its own, as {', '.join(ORGANS)} have: "
            "give sentences=[...] that say how it looks, cut out on black"
        )
    return [f"{'+' * (name == 'ablation')}{name}={text_of(value)}" for name, value in told.items()]


def text_of(value: object) -> str:
    """A value as Hydra reads it: what is no plain word is quoted."""
    if value is None:
        return "null"
    if isinstance(value, np.generic):
        return text_of(value.item())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{text_of(str(name))}:{text_of(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(text_of, value))}]"
    if isinstance(value, str | Path):
        return str(value) if _WORD.fullmatch(str(value)) else _quoted(str(value))
    raise ConfigError(f"{value!r} is of a kind that no key takes: give text, numbers, lists or None")


def _quoted(text: str) -> str:
    # Backslashes count only in front of a quote, where two stand for one.
    inner = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (found[2] and "\\'"), literal(text))
    return f"'{inner}'"


def configured(overrides: Sequence[str]) -> Config:
    """The configuration of overrides, composed and checked as that of a command, if a single image will do for it.

    Raises:
        ConfigError: it is wrong, or asks for what only runs over a data set can do.
    """
    refuse_foreign_code(overrides)
    asked = {key_of(each).partition(".")[0] for each in overrides}
    with _composing:
        config = typed(compose([*(each for each in _OUTSIDE if key_of(each) not in asked), *overrides]))
    traits = METHODS[config.method]
    if config.task is not Task.run:
        raise ConfigError(f"task={config.task} is for the command line: python -m salip_exp task={config.task}")
    if traits.target:
        raise ConfigError(f"method={config.method} needs the target, which an image of its own has not: take another")
    if traits.trained and config.unet.weights is None:
        raise ConfigError(f"method={config.method} needs unet.weights=FILE, which task=train makes")
    if config.tuning.sampler is not Sampler.none:
        raise ConfigError(
            f"tuning={config.tuning.sampler} searches over a data set: run it there, and give tuned=FILE here"
        )
    if config.stress is not None:
        raise ConfigError(f"stress={config.stress} is for the images of a data set: leave it out")
    if config.seeds:
        raise ConfigError("seeds=[...] are runs of their own: give seed=N")
    if config.dataset.files.labels is not None:
        raise ConfigError("dataset.files.labels are runs of their own: give organ=NAME and its sentences")
    if config.tracker.used:
        raise ConfigError("tracker=wandb tracks runs: leave it out")
    return config
