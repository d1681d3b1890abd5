"""Where and with what a run was made: packages, machine, commit. Nothing from the environment's variables."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import salip_exp
from salip_exp.cache.store import Store
from salip_exp.config import Config
from salip_exp.data.case import Dataset
from salip_exp.files import atomic_write
from salip_exp.methods.base import Method
from salip_exp.runs.cases import Session
from salip_exp.runs.identity import data_hash
from salip_exp.runs.records import RECORD_VERSION, CaseRecord
from salip_exp.runs.summary import VERSION as SUMMARY_VERSION
from salip_exp.timing import Stages

PACKAGES = (
    "salip_exp",
    "torch",
    "torchvision",
    "monai",
    "segment-anything",
    "openai-clip",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "Pillow",
    "nibabel",
    "pycocotools",
    "safetensors",
    "hydra-core",
    "omegaconf",
    "pyarrow",
)


def versions() -> dict[str, str | None]:
    """Versions of Python and of every package that numbers depend on; None if not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def machine() -> dict[str, Any]:
    """System, processor, cores, memory and GPU (None without one)."""
    return {
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "gpu": _gpu(),
    }


def commit() -> dict[str, Any] | None:
    """Commit of the checkout that the package runs from, and whether files differ from it; None outside of one."""
    package = Path(salip_exp.__file__).parent
    if not _git(package, "ls-files", "__init__.py"):  # installed below somebody else's checkout
        return None
    found = _git(package, "rev-parse", "HEAD")
    return {"id": found, "changed": bool(_git(package, "status", "--porcelain"))} if found else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _gpu() -> str | None:
    torch: Any = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


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
