"""Where and with what a run was made: packages, machine, commit. Nothing from the environment's variables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import salip_exp

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
