"""Peak memory above the models: one image through segment-everything and one box prompt, each in a fresh process.

Linux keeps the most memory a process ever held (VmHWM of /proc/self/status). It is set back to what is held at the
moment (by /proc/self/clear_refs) when models are loaded, the image is read, and one grid point was decoded in a small
picture, so that libraries have loaded what they load at their first call; free heap is given back before. What it grows
from there on is counted.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from contestant import method
from networks import Networks, load
from one_image import overrides
from pictures import one_of_each
from plan import Plan
from processes import Answer, Conditions, fresh
from reference import published
from rows import Row

from salip_exp.cache.store import MemoryStore, NoStore
from salip_exp.config import Config
from salip_exp.data.case import Case

PROC = Path("/proc/self")
CONTESTANTS = {"reference": "reference", "cache=off": "salip_exp", "cache=memory": "salip_exp"}


def benchmark(plan: Plan, conditions: Conditions) -> Iterator[Row]:
    """MiB of each contestant, the median of several processes."""
    reference = 0.0
    for name, who in CONTESTANTS.items():
        arguments = {"weights": plan.weights, "points": plan.points, "name": name}
        answers = [answer for _ in range(plan.repeats) for answer in fresh(conditions, measure, **arguments)]
        answer = answers[0] | {"value": median(each["value"] for each in answers), "n": len(answers)}
        compared = {"ratio": answer["value"] / reference, "ratio_of": "salip_exp / reference"} if reference else {}
        reference = reference or answer["value"]
        answer["setting"] += "" if who == name else f", {name}"
        row = {**answer, **compared, "threads": conditions.threads, "allocator": conditions.allocator}
        yield Row("memory", plan.weights, who=who, unit="MiB", **row)


def measure(weights: str, points: int | None, name: str) -> Iterator[Answer]:
    """What one contestant holds at most, above the models."""
    networks = load(weights)
    config, case = one_of_each(overrides(weights, points))[0]
    small = (
        replace(config, sam=replace(config.sam, points_per_side=1)),
        replace(case, image=case.image[:32, :32].copy()),
    )
    once(name, networks, *small)
    forget_peak()
    start = held("VmHWM")
    once(name, networks, config, case)
    grid = config.sam.points_per_side
    size = "x".join(map(str, case.image.shape[:2]))
    base = f"above {start:.0f} MiB of models and libraries"
    yield {"side": max(case.image.shape), "setting": f"{grid}x{grid} points, image {size}", "work": base} | {
        "value": held("VmHWM") - start
    }


def once(name: str, networks: Networks, config: Config, case: Case) -> None:
    """A contestant on an image."""
    if name == "reference":
        published(networks.sam.net, None, None, case.image, config)
    else:
        store = NoStore() if name == "cache=off" else MemoryStore(512 << 20)
        method(config, networks, store, with_clip=False).predict(case)


def held(line: str) -> float:
    """A line of the process's status, in MiB."""
    found = re.search(rf"{line}:\s+(\d+) kB", (PROC / "status").read_text())
    assert found is not None, f"{line} is not told here: this benchmark needs Linux"
    return int(found[1]) / 1024


def forget_peak() -> None:
    """Give back what is free, and let VmHWM begin anew from what is held then."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    (PROC / "clear_refs").write_text("5")
