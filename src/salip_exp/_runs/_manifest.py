"""Where and with what a run was made: packages, machine, commit. Nothing from the environment's variables."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import salip_exp
from salip_exp._environment import environment_of_children
from salip_exp._files import atomic_write
from salip_exp._runs.lab import Loaded
from salip_exp._runs.listener import Run
from salip_exp._runs.records import RECORD_VERSION, data_hash
from salip_exp._runs.summary import VERSION as SUMMARY_VERSION
from salip_exp._settings.folders import File
from salip_exp._timing import Parts
from salip_exp.cache.store import Store
from salip_exp.config import Config
from salip_exp.data._left_out import LOST_REGIONS, listed, shrunk_targets, vanished_targets
from salip_exp.data.case import Dataset
from salip_exp.errors import VanishedTarget

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


_GITS = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
"""What git is told beside what any program is: no GIT_* of this process is passed on."""


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=environment_of_children() | _GITS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


VERSION = 1


def opening(config: Config, command: Sequence[str], dataset: Dataset, loaded: Loaded) -> dict[str, Any]:
    """What is known of a run before its first case."""
    return {
        "versions": {"manifest": VERSION, "record": RECORD_VERSION, "summary": SUMMARY_VERSION},
        "command": shlex.join(command),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": config.seed,
        "packages": versions(),
        "commit": commit(),
        "machine": machine(),
        "device": loaded.device,
        "arithmetic": loaded.arithmetic,
        "weights": loaded.facts,
        "sentences": list(loaded.sentences),
        "data": {
            "dataset": dataset.name,
            "root": config.dataset.root,
            "n_found": dataset.found,
            "n_used": len(dataset.refs),
            **listed(dataset.excluded),
            "left_out": [each.to_dict() for each in dataset.left_out],
        },
    }


def closing(run: Run, built: Mapping[str, int], parts: Parts, store: Store) -> dict[str, Any]:
    """What is known of a run after its last case.

    Args:
        run: with all its records.
        built: the networks' work before the first case, by counter.
        parts: seconds and peak memory so far.
        store: what was found in it.
    """
    work = Counter(built)
    seconds: Counter[str] = Counter()
    for record in run.records:
        work.update(record.work)
        seconds.update(record.seconds)
    vanished = [each.case_id for each in run.records if each.status == f"failed({VanishedTarget.CODE})"]
    data = run.manifest["data"]
    shrunk = [each.case_id for each in run.records if LOST_REGIONS in each.notes]
    more = [told(names).to_dict() for told, names in ((vanished_targets, vanished), (shrunk_targets, shrunk)) if names]
    more += [each.to_dict() for each in run.doubts.told()]
    return {
        "data": data | {"left_out": [*data["left_out"], *more]},
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
        "data_sha256": data_hash(each.fingerprint for each in run.records),
        "stages": parts.taken,
        "case_seconds": {name: round(total, 3) for name, total in seconds.items()},
        "counters": dict(work),
        "cache": {str(stage): asdict(tally) for stage, tally in store.stats.items()},
        "resumed": {
            "reused": run.reused,
            "redone": [{"case_id": case_id, "reason": reason} for case_id, reason in run.redone],
            "gone": run.gone,
        },
    }


def write_config(folder: Path, config: Config) -> None:
    """Write the resolved configuration."""
    atomic_write(folder / File.config, OmegaConf.to_yaml(OmegaConf.structured(config)))
