"""Experiments without networks: discs for images, a threshold for a method; also a program, for tests that kill it.

python fakes.py OUTPUTS SECONDS_PER_CASE LOG PART...
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from salip_exp._commands import experiment
from salip_exp._experiments import cell_runs
from salip_exp._runs import lab as laboratory
from salip_exp._runs.lab import Lab
from salip_exp._runs.runner import run
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config, DatasetConfig
from salip_exp.data.case import Case, Dataset
from salip_exp.methods.base import Prediction

spec = importlib.util.spec_from_file_location("runs_fakes", Path(__file__).parents[1] / "runs" / "fakes.py")
assert spec is not None and spec.loader is not None
discs = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = discs
spec.loader.exec_module(discs)

GROUPS = {"phantom_cc359": ("GE 1.5", "GE 3", "Philips 1.5", "Philips 3", "Siemens 1.5", "Siemens 3")}
ERODED = {"unprompted_sam": 6, "sam_clip": 2, "salip": 1, "oracle": 1, "gt_sam": 0}
"""Rows of the mask that a method loses: the less, the better."""


def images(config: DatasetConfig, seed: int, stress: str | None = None, n: int = 12) -> Dataset:
    """Discs, in the groups of the data set; the same for every seed and stress."""
    groups = GROUPS.get(config.name, (config.group,))
    cases = [replace(discs.make_case(i, f"case_{i:02d}"), dataset=config.name) for i in range(n)]
    cases = [replace(case, group=groups[i % len(groups)]) for i, case in enumerate(cases)]
    return replace(discs.dataset(cases[: config.limit]), name=config.name)


class Eroding(discs.Threshold):
    """What is bright, without its first rows: how many depends on the method, and on whether the filter is on."""

    def __init__(self, config: Config, pause: float, before: Callable[[Case], None]) -> None:
        super().__init__(pause, before)
        nonsense = "bicycle" in str(config.vdt.sentences)
        self.rows = ERODED[str(config.method)] + (not config.area.enabled) + 3 * nonsense

    def predict(self, case: Case) -> Prediction:
        prediction = super().predict(case)
        mask = prediction.mask.copy()
        first = int(np.flatnonzero(mask.any(axis=1))[0])
        mask[first : first + self.rows] = False
        return replace(prediction, mask=mask)


def runs(log: list[str], pause: float = 0.0, before: Callable[[Config, Case], None] = lambda config, case: None):
    """In place of `execute`: the ordinary run, around the method above; every cell is noted in `log`."""

    def ran(config: Config, folder: Path, command: Sequence[str], lab: Lab, heard: Any, *rest: Any, train: bool) -> int:
        log.append(f"{config.dataset.name} {folder.parent.name}")
        fake = discs.FakeLab([], Eroding(config, pause, lambda case: before(config, case)))
        fake.cases = lab.dataset(config)
        return run(config, folder, command, fake, heard)

    return ran


@cache
def composed_once(overrides: tuple[str, ...]) -> DictConfig:
    """As `compose`, which takes its time; every test types the same cells."""
    return compose(overrides)


def configured(outputs: Path, *overrides: str) -> tuple[Config, list[str]]:
    """An experiment's configuration, and its command."""
    told = [*overrides, f"outputs={outputs}", "progress=false"]
    return typed(compose(told)), ["python", "-m", "salip_exp", *told]


def main(outputs: Path, pause: float, log: Path, parts: str) -> int:
    def note(config: Config, case: Case) -> None:
        with log.open("a") as stream:
            stream.write(f"{config.dataset.name} {config.method} {config.area.enabled} {case.case_id}\n")

    laboratory.open_dataset = images
    cell_runs.execute = runs([], pause, note)
    experiment.write_experiment = lambda folder, outputs: None
    config, command = configured(outputs, "+experiment=table1", f"experiment.parts=[{parts}]", "figures=none")
    return experiment.command(config, outputs / "experiments" / "study", command)


if __name__ == "__main__":
    place, seconds, journal, chosen = sys.argv[1:]
    sys.exit(main(Path(place), float(seconds), Path(journal), chosen))
