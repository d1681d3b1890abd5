"""What a result depends on, as hashes, and the file name that a case id gets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from salip_exp.cascade.options import VIEWS
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.traits import METHODS
from salip_exp.plugins import versions

_NUMBERS = ("0.1.0", 4)
"""What the numbers of a record mean, in every key: another one only when a release changes numbers.

It holds what 0.1.0 put here, its version and that of its records, so that keys are the same since.
"""

_STAGES = ("method", "sam", "clip", "area", "view", "retrieval", "organ", "prompt")
"""Sections of the configuration that a prediction depends on; paths of weights and data are told by their hashes."""


def safe_name(case_id: str) -> str:
    """A file name (without suffix) for any case id; different ids get different names.

    Ids of plain characters stay as they are. Others are made plain and get a hash after `~`, which no plain id has.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", case_id).strip("-.")[:80]
    if plain and plain == case_id:
        return plain
    return f"{plain or 'case'}~{_digest(case_id.encode('utf-8', 'surrogatepass'))[:10]}"


def fingerprint(case: Case) -> str:
    """SHA-256 over all that a case gives to a method and to its score: pixels, target, spacing, identity."""
    identity = [case.case_id, case.dataset, case.group, case.volume, case.slice, case.spacing, case.image.shape]
    parts = [json.dumps([identity, sorted(case.facts.items())]).encode(), case.image.tobytes()]
    if case.mask is not None:
        parts += [str(case.mask.shape).encode(), case.mask.tobytes()]
    return _digest(*parts)


def recipe(config: Config, weights: Mapping[str, str], sentences: Sequence[str], device: str) -> str:
    """SHA-256 over all that makes a prediction and its score, other than the case.

    Args:
        config: of the run.
        weights: SHA-256 of the weights of each network in use.
        sentences: as CLIP read them.
        device: type of the device; another one rounds differently.
    """
    settings = {name: _plain(getattr(config, name)) for name in _STAGES}
    for network in ("sam", "clip"):
        settings[network] |= {"weights": None, "sha256": weights.get(network)}
    settings |= {"unet": weights["unet"]} if "unet" in weights else {}
    settings |= {
        "k": config.dataset.k,
        "empty_target": config.score.empty_target,
        "tolerance_mm": config.score.tolerance_mm,
        "sentences": list(sentences),
        "parts": _parts(config) if sentences else [],
        "device": device,
        "arithmetic": [config.precision, config.compile],
        "code": [*_NUMBERS, *METHODS.origin(config.method), *VIEWS.origin(config.view.kind)],
    }
    return _digest(json.dumps(settings, sort_keys=True).encode())


def record_key(recipe_hash: str, case_hash: str) -> str:
    """The key under which a finished case may be used again: also of the scores that other packages add."""
    return _digest(*(each.encode() for each in (recipe_hash, case_hash, *versions("scores"))))


def data_hash(fingerprints: Iterable[str]) -> str:
    """SHA-256 over the fingerprints of all cases, in order."""
    return _digest(*(each.encode() for each in fingerprints))


def _parts(config: Config) -> list[tuple[str, Any]]:
    """How the sentences are shared out, where there is a set for each ROI."""
    return [(name, asdict(part)) for name, part in config.vdt.parts.items()]


def _plain(section: Any) -> Any:
    return asdict(section) if is_dataclass(section) and not isinstance(section, type) else section


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little"))
        whole.update(part)
    return whole.hexdigest()
