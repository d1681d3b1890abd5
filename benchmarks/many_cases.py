"""What 54,000 cases cost beside their networks: a run of stand-ins, by one process and by two workers.

    python benchmarks/many_cases.py [CASES] [SCRATCH]

CC359 has 359 volumes and some 54,000 slices. Here a case is a disc of 32 x 32 pixels, a volume has 150 of them, and its
prediction takes a millisecond, so that what is left is this project's own work: reading ahead, fingerprints, records,
claims, tables, pages. The size is halved and quartered too, so that growth is seen. Prints a line of JSON for each run,
CPU time beside seconds, since the latter say nothing on a machine that does other work.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from salip_exp._commands.run import run_listeners
from salip_exp._runs.lab import Lab, Loaded
from salip_exp._runs.runner import run
from salip_exp.cache.store import NoStore
from salip_exp.cascade.pool import Pool, pack
from salip_exp.cascade.work import Counters
from salip_exp.config import (
    CacheConfig,
    ClipConfig,
    Config,
    DatasetConfig,
    ExecutorConfig,
    SamConfig,
    VdtConfig,
)
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.methods.base import Prediction, Status
from salip_exp.networks.sam import LoadedSam

SIDE, SLICES, SECONDS = 32, 150, 0.001
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def case(volume: int, number: int) -> Case:
    """A disc that depends on its number alone."""
    x, y, radius = 12 + number % 7, 12 + number % 5, 5 + number % 4
    mask = (ROWS - y) ** 2 + (COLUMNS - x) ** 2 <= radius**2
    image = np.repeat((mask * 150 + (volume + number) % 60).astype(np.uint8)[..., None], 3, axis=2)
    name = f"volume_{volume:04d}"
    return Case(f"{name}/{number:03d}", "discs", f"group {volume % 6}", image, mask, (1.0, 1.0), name, name, number)


class Stand:
    """Finds what is bright, after a millisecond."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.first: float | None = None

    def predict(self, case: Case) -> Prediction:
        """The disc."""
        time.sleep(SECONDS)
        self.first = self.first or time.perf_counter()
        bright = case.image[..., 0] > 100
        masks, one = bright[None], np.ones(1, np.float32)
        box = np.array([[4, 4, 26, 26]], np.float32)
        pool = Pool(np.arange(1), pack(masks), box, masks.sum((1, 2)), one, one)
        return Prediction(bright, Status.ok, pool, np.arange(1), one, [0], [0.5], box, {"everything": SECONDS})


class StandLab(Lab):
    """Lends the discs and the stand-in."""

    def __init__(self, n: int) -> None:
        super().__init__()
        places = [(each // SLICES, each % SLICES) for each in range(n)]
        refs = [
            CaseRef(f"volume_{v:04d}/{i:03d}", f"group {v % 6}", f"volume_{v:04d}", partial(case, v, i), None, i)
            for v, i in places
        ]
        self.stand, self.discs = Stand(), Dataset("discs", refs, [], n)

    def dataset(self, config: Config) -> Dataset:
        """All discs."""
        return self.discs

    def loaded(self, config: Config) -> Loaded:
        """A name."""
        sam = LoadedSam(None, "tiny", "a" * 64, torch.device("cpu"))  # type: ignore[arg-type]
        return Loaded(sam, None, None, ["a disc"], "cpu", "fp32")

    def store(self, config: CacheConfig) -> NoStore:  # type: ignore[override]
        """None."""
        return NoStore()

    def method(self, config: Config) -> Stand:  # type: ignore[override]
        """The stand-in."""
        return self.stand


def configured(workers: int) -> Config:
    """A run by one process, or by a worker of several."""
    return Config(
        dataset=DatasetConfig(name="discs", layout="folder", roi="disc"),
        sam=SamConfig(name="tiny"),
        clip=ClipConfig(name="tiny"),
        vdt=VdtConfig(name="disc"),
        progress=False,
        shard="auto" if workers else None,
        executor=ExecutorConfig(workers=max(1, workers)),
    )


def work(n: int, folder: Path, workers: int, told: Path) -> None:
    """Run, and leave what it took."""
    start = time.perf_counter()
    lab, config = StandLab(n), configured(workers)
    run(config, folder, ["python", "-m", "salip_exp"], lab, run_listeners(config, folder))
    first = (lab.stand.first or start) - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told.write_text(
        json.dumps({"first_case_s": round(first, 2), "peak_mib": round(peak), "cpu_s": time.process_time()})
    )


def measured(n: int, workers: int, scratch: Path) -> dict[str, float | str]:
    """One run in processes of its own."""
    folder = scratch / "run"
    shutil.rmtree(folder, ignore_errors=True)
    notes = [scratch / f"{each}.json" for each in range(max(1, workers))]
    start = time.perf_counter()
    processes = [multiprocessing.Process(target=work, args=(n, folder, workers, note)) for note in notes]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    seconds = time.perf_counter() - start
    told = [json.loads(each.read_text()) for each in notes]
    stages = json.loads((folder / "manifest.json").read_text())["stages"]
    files = [each for each in folder.rglob("*") if each.is_file()]
    return {
        "cases": n,
        "by": f"{workers} workers" if workers else "one process",
        "seconds": round(seconds, 1),
        "first_case_s": min(each["first_case_s"] for each in told),
        "overhead_ms_a_case": round(1000 * (seconds * max(1, workers) / n - SECONDS), 2),
        "cpu_ms_a_case": round(1000 * sum(each["cpu_s"] for each in told) / n, 2),
        "end_s": round(sum(v for name, v in _flat(stages) if name == "results"), 1),
        "peak_mib": max(each["peak_mib"] for each in told),
        "inodes": len(files),
        "disk_mib": round(sum(each.stat().st_blocks * 512 for each in files) / 2**20, 1),
        "page_mib": round((folder / "report.html").stat().st_size / 2**20, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def _flat(stages: dict[str, object]) -> Sequence[tuple[str, float]]:
    """Seconds by stage."""
    return [(name, float(each["seconds"] if isinstance(each, dict) else each)) for name, each in stages.items()]  # type: ignore[arg-type]


if __name__ == "__main__":
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 54_000
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    for size in (most // 16, most // 4, most):
        for by in (0, 2):
            print(json.dumps(measured(size, by, place)), flush=True)
