"""What the result of a cell depends on, as one key: a finished cell with this key need not be run again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from salip_exp.cascade.sentences import read_sentences
from salip_exp.config import Config, MethodName
from salip_exp.errors import WeightsError
from salip_exp.methods.registry import needs_clip, needs_sam
from salip_exp.models import registry
from salip_exp.models.device import pick_device
from salip_exp.models.weights import location, sha256_of
from salip_exp.running.identity import recipe
from salip_exp.tuning.tuned import read_tuned

WAITING = {"n_workers", "grace_s", "lock_wait_s", "storage"}
"""Settings of a search that change no number."""


def cell_key(config: Config, data_sha256: str) -> str:
    """SHA-256 over the recipe with its weights, the data set's section and its images, and how scores are summed up.

    Where files lie is no part of it: what is in them is. No network is loaded for it.

    Args:
        config: of the cell.
        data_sha256: over the fingerprints of its cases (`Shared.data_sha256`).

    Raises:
        ConfigError, WeightsError, DataError: the text, the weights' names or a file of settings cannot be used.
    """
    sentences = read_sentences(config.vdt) if needs_clip(config.method) else []
    parts = {
        "recipe": recipe(config, weights_of(config), sentences, pick_device(config.device).type),
        "dataset": asdict(config.dataset) | {"root": None, "subset": None},
        "data": data_sha256,
        "score": asdict(config.score),
        "seed": config.seed,
        "search": _search(config),
        "unet": _unet(config),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def weights_of(config: Config) -> dict[str, str]:
    """SHA-256 that the weights of each network in use are held to."""
    entries = entries_of(config)
    return {entry.network: entry.sha256 for entry in entries}


def absent_weights(config: Config) -> str | None:
    """The first network in use whose registered weights are not on this machine, as an override; None if all are.

    A file of the user's that is not there is a mistake, and found when the cell is run.
    """
    missing = (each.option for each in entries_of(config) if not each.users and not location(each).is_file())
    return next(missing, None)


def entries_of(config: Config) -> list[registry.Entry]:
    """What is registered for each network in use."""
    sam, clip = config.sam, config.clip
    found = [registry.find("sam", sam.name, sam.weights, sam.sha256)] if needs_sam(config.method) else []
    return found + ([registry.find("clip", clip.name, clip.weights, clip.sha256)] if needs_clip(config.method) else [])


def _search(config: Config) -> dict[str, Any]:
    """Settings of the search, and the images that tuned settings leave out."""
    settings = {name: value for name, value in asdict(config.tuning).items() if name not in WAITING}
    images = [] if config.tuned is None else read_tuned(Path(config.tuned).expanduser()).images
    return {**settings, "images": list(images)}


def _unet(config: Config) -> dict[str, Any] | None:
    """How the U-Net is trained, and given weights by their hash; a trained one follows from the rest of the key."""
    if config.method is not MethodName.unet:
        return None
    section = asdict(config.unet)
    weights = section.pop("weights")
    return {**section, "sha256": None if weights is None else _sha256(Path(weights).expanduser())}


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"unet.weights={path} cannot be read ({error.strerror}): check the path") from error
