"""`config.yaml` and `manifest.json`: what has to be known to make a run again, and what it took."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from salip_exp.caching.store import Store
from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.methods.prediction import Method
from salip_exp.running.cases import Session
from salip_exp.running.files import atomic_write
from salip_exp.running.identity import RECORD_VERSION, data_hash
from salip_exp.running.machine import commit, machine, versions
from salip_exp.running.records import CaseRecord
from salip_exp.running.stages import Stages
from salip_exp.running.summary import VERSION as SUMMARY_VERSION

VERSION = 1


@dataclass(frozen=True)
class Engine:
    """A method with what it was made of.

    Attributes:
        method: ready to predict.
        networks: name and SHA-256 of the weights of each network in use, by `sam` and `clip`.
        sentences: as CLIP read them.
        device: type of the device that the networks run on.
        store: where results of stages are kept, and what it counted.
        arithmetic: how the networks compute.
    """

    method: Method
    networks: Mapping[str, tuple[str, str]]
    sentences: Sequence[str]
    device: str
    store: Store
    arithmetic: str = "fp32"

    @property
    def names(self) -> dict[str, str]:
        """Name of the weights by network."""
        return {network: name for network, (name, _) in self.networks.items()}

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights by network."""
        return {network: sha256 for network, (_, sha256) in self.networks.items()}


def opening(config: Config, command: Sequence[str], dataset: Dataset, engine: Engine) -> dict[str, Any]:
    """What is known of a run before its first case."""
    return {
        "versions": {"manifest": VERSION, "record": RECORD_VERSION, "summary": SUMMARY_VERSION},
        "command": shlex.join(command),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": config.seed,
        "packages": versions(),
        "commit": commit(),
        "machine": machine(),
        "device": engine.device,
        "arithmetic": engine.arithmetic,
        "weights": {network: {"name": name, "sha256": sha} for network, (name, sha) in engine.networks.items()},
        "sentences": list(engine.sentences),
        "data": {
            "dataset": dataset.name,
            "root": config.dataset.root,
            "n_found": dataset.found,
            "n_used": len(dataset.refs),
            "n_excluded": len(dataset.excluded),
            "excluded": [{"case_id": case_id, "reason": reason} for case_id, reason in dataset.excluded],
        },
    }


def closing(
    records: Sequence[CaseRecord], session: Session, built: Mapping[str, int], stages: Stages, store: Store
) -> dict[str, Any]:
    """What is known of a run after its last case.

    Args:
        records: of all cases.
        session: how they came about.
        built: the networks' work before the first case, by counter.
        stages: seconds and peak memory so far.
        store: what was found in it.
    """
    work = Counter(built)
    seconds: Counter[str] = Counter()
    for record in records:
        work.update(record.work)
        seconds.update(record.seconds)
    return {
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
        "data_sha256": data_hash(each.fingerprint for each in records),
        "stages": stages.taken,
        "case_seconds": {name: round(total, 3) for name, total in seconds.items()},
        "counters": dict(work),
        "cache": {str(stage): asdict(tally) for stage, tally in store.stats.items()},
        "resumed": {
            "reused": session.reused,
            "redone": [{"case_id": case_id, "reason": reason} for case_id, reason in session.redone],
        },
    }


def write_config(folder: Path, config: Config) -> None:
    """Write the resolved configuration."""
    atomic_write(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(config)))


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest.json`."""
    write_json(folder / "manifest.json", manifest)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that every reader takes: NaN is refused, since no figure of a run may be one."""
    atomic_write(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
