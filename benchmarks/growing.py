"""What many images, many runs and a large cache cost: the start of a run, a second report, the opening of a cache.

    python benchmarks/growing.py [images 20000] [runs 2000] [entries 200000]

Seconds are of processor time. Images are those of a folder, each with its mask, 32 x 32 pixels; their networks are the
stand-in of `many_cases.py`, so that what is left is this project's own work. Memory is what a process holds more at the
last case than after a quarter of them. Prints a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
from many_cases import Stand, StandLab, case, configured

from salip_exp._commands.run import run_listeners
from salip_exp._runs.runner import run
from salip_exp.cache._base import Stage
from salip_exp.cache._disk import DiskStore
from salip_exp.cache._files import entry_path
from salip_exp.config import Config, Files
from salip_exp.data.case import Case, Dataset
from salip_exp.data.datasets import open_dataset
from salip_exp.methods.base import Prediction


class Watched(Stand):
    """Notes what the process has used when cases begin."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu_s: list[float] = []
        self.held: list[int] = []

    def predict(self, case: Case) -> Prediction:
        """The disc, and a note."""
        self.cpu_s.append(time.process_time())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.held.append(pages * os.sysconf("SC_PAGE_SIZE"))
        return super().predict(case)


class FolderLab(StandLab):
    """Lends the images of a folder and the stand-in."""

    def __init__(self) -> None:
        super().__init__(0)
        self.stand = Watched()

    def dataset(self, config: Config) -> Dataset:
        """The folder's images."""
        return open_dataset(config.dataset, config.seed, config.stress)


def images(n: int, place: Path) -> dict[str, float]:
    """A run over so many images of a folder."""
    for number in range(n):
        disc = case(number // 150, number % 150)
        assert disc.mask is not None
        for kind, pixels in (("images", disc.image), ("masks", disc.mask * 255)):
            (place / "data" / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / "data" / kind / f"c{number:06d}.png"), pixels.astype("uint8"))
    begun, lab, config = time.process_time(), FolderLab(), configured(0)
    data = replace(
        config.dataset, name="folder", root=str(place / "data"), files=Files(images="images/*", masks="masks/*")
    )
    config = replace(config, dataset=data)
    run(config, place / "run", ["benchmark"], lab, run_listeners(config, place / "run"))
    cpu, held = lab.stand.cpu_s, lab.stand.held
    return {
        "first_case_cpu_s": round(cpu[0] - begun, 2),
        "cpu_ms_a_case": round(1000 * (cpu[-1] - cpu[0]) / n, 2),
        "bytes_a_case": round((held[-1] - held[n // 4]) / (n - n // 4)),
        "all_cpu_s": round(time.process_time() - begun, 1),
    }


def runs(n: int, place: Path) -> dict[str, float]:
    """`task=report` over so many runs, and once more."""
    config = configured(0)
    run(config, place / "one", ["benchmark"], StandLab(4), run_listeners(config, place / "one"))
    for number in range(n):
        shutil.copytree(place / "one", place / "outputs" / f"data {number % 20}" / "run" / f"{number:05d}")
    told = {}
    for name in ("first", "second"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "salip_exp", "task=report", f"outputs={place / 'outputs'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told[f"{name}_cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
    return told


def entries(n: int, place: Path) -> dict[str, float]:
    """Opening a cache of so many entries of 1 kB, twice its budget, and its first write."""
    stages = list(Stage)
    for number in range(n):
        path = entry_path(place, stages[number % len(stages)], f"{number * 2654435761 % 2**32:08x}{number:032x}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    told = {}
    begun = time.process_time()
    store = DiskStore(place, n * 500)
    told["opening_cpu_s"] = round(time.process_time() - begun, 4)
    begun = time.process_time()
    store.put(stages[0], "f" * 40, {})
    told["first_write_cpu_s"] = round(time.process_time() - begun, 3)
    return told


if __name__ == "__main__":
    words = sys.argv[1:]
    counts = dict(zip(words[::2], map(int, words[1::2]), strict=True)) or {
        "images": 20_000, "runs": 2_000, "entries": 200_000,
    }  # fmt: skip
    measures = {each.__name__: each for each in (images, runs, entries)}
    for name, many in counts.items():
        with tempfile.TemporaryDirectory(prefix="salip_exp-growing-") as home:
            print(json.dumps({name: many, **measures[name](many, Path(home))}), flush=True)
