"""A data set of small discs and a method without networks; also a program, for tests that kill it.

python fakes.py FOLDER RESUME CASES SIGNALS
It does so many cases, then waits for so many signals before it goes on; FOLDER.waits says how many have come.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from salip_exp._commands.run import run_listeners
from salip_exp._reports.listeners import RunTable
from salip_exp._runs.lab import Lab, Loaded
from salip_exp._runs.runner import run
from salip_exp.cache.store import NoStore
from salip_exp.cascade.pool import Pool, pack
from salip_exp.cascade.work import Counters
from salip_exp.config import CacheConfig, ClipConfig, Config, DatasetConfig, SamConfig, ScoreConfig, VdtConfig
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.methods.base import Prediction, Status
from salip_exp.networks.sam import LoadedSam

SIDE, N = 32, 12
COMMAND = ["python", "-m", "salip_exp", "dataset=fake"]


def config(**changes) -> Config:
    data = DatasetConfig(name="fake", layout="folder", roi="disc")
    parts = {"sam": SamConfig(name="tiny"), "clip": ClipConfig(name="tiny"), "vdt": VdtConfig(name="disc")}
    looks = {"progress": False, "figures": "worst:1", "score": ScoreConfig(resamples=200)}
    return Config(**({"dataset": data} | parts | looks | changes))


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def make_case(i: int, case_id: str, volume: str | None = None, shift: int = 0) -> Case:
    rng = np.random.default_rng(i)
    mask = disc(*rng.uniform(12, 20, 2), rng.uniform(5, 9))
    image = np.repeat((rng.integers(0, 60, (SIDE, SIDE)) + 150 * mask + shift).astype(np.uint8)[..., None], 3, axis=2)
    subject = volume or case_id
    return Case(case_id, "fake", f"group {i % 2}", image, mask, (0.5, 0.5), subject, volume, i if volume else None)


def dataset(cases: list[Case]) -> Dataset:
    def loader(case: Case) -> Callable[[], Case]:
        return lambda: case

    refs = [CaseRef(each.case_id, each.group, each.subject, loader(each), each.volume, each.slice) for each in cases]
    return Dataset("fake", refs, [("left_out", "no mask")], len(cases) + 1)


class Threshold:
    """What is bright; its pool holds that and a corner. Fails, or waits, where told."""

    def __init__(self, pause: float = 0.0, before: Callable[[Case], None] = lambda case: None) -> None:
        self.counters = Counters(clip_text_forwards=1)
        self.pause, self.before = pause, before
        self.seen: list[str] = []

    def predict(self, case: Case) -> Prediction:
        self.before(case)
        self.seen.append(case.case_id)
        time.sleep(self.pause)
        self.counters.encoder_calls += 1
        bright = case.image[..., 0] > 175
        corner = np.zeros_like(bright)
        corner[:6, :6] = True
        masks = np.stack([bright, corner])
        boxes = np.array([[4, 4, 26, 26], [0, 0, 5, 5]], np.float32)
        flat = np.ones(2, np.float32)
        pool = Pool(np.arange(2), pack(masks), boxes, masks.sum((1, 2)), flat, flat)
        return Prediction(
            bright, Status.ok, pool, np.arange(2), flat, [0], [0.123456789], boxes[:1], {"everything": 0.001}
        )


class FakeLab(Lab):
    """Lends the discs, and a method around a network that is a name and a hash."""

    def __init__(self, cases: list[Case], method: Threshold, sam: str = "a" * 64) -> None:
        super().__init__()
        self.cases, self.lent = dataset(cases), method
        self.of_names = Loaded(LoadedSam(None, "tiny", sam, torch.device("cpu")), None, None, ["a disc"], "cpu", "fp32")

    def dataset(self, config: Config) -> Dataset:
        return self.cases

    def loaded(self, config: Config) -> Loaded:
        return self.of_names

    def store(self, config: CacheConfig) -> NoStore:
        return NoStore()

    def method(self, config: Config) -> Threshold:
        return self.lent


def default_cases() -> list[Case]:
    return [make_case(i, f"case_{i:02d}") for i in range(N)]


def run_fake(folder: Path, cases: list[Case] | None = None, method: Threshold | None = None, **changes) -> int:
    lab, chosen = FakeLab(default_cases() if cases is None else cases, method or Threshold()), config(**changes)
    return run(chosen, folder, COMMAND, lab, [*run_listeners(chosen, folder), RunTable()])


def rows_without_seconds(folder: Path) -> list[list[str]]:
    import csv

    with (folder / "cases.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [[value for name, value in row.items() if not name.startswith("seconds_")] for row in rows]


def contents(folder: Path) -> dict[str, str]:
    files = [each for each in sorted(folder.rglob("*")) if each.is_file()]
    return {str(each.relative_to(folder)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def waiting(note: Path, cases: int, signals: int) -> Callable[[Case], None]:
    """What stops before a case until signals have come; one that came earlier counts, whatever it did."""
    seen: list[str] = []
    heard, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGWINCH, lambda *_: None)

    def before(case: Case) -> None:
        seen.append(case.case_id)
        if len(seen) == cases + 1:
            for number in range(signals):
                note.write_text(str(number))
                os.read(heard, 1)

    return before


if __name__ == "__main__":
    place, resume, *counts = sys.argv[1:]
    hold = waiting(Path(f"{place}.waits"), *map(int, counts))
    sys.exit(run_fake(Path(place), method=Threshold(before=hold), resume=resume == "true"))
