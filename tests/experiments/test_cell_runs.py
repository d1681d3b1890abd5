"""Experiments that need the same cells at once: each cell is made by one of them."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from salip_exp import _crew
from salip_exp._commands import experiment
from salip_exp._experiments import cell_runs, composing
from salip_exp._runs import lab as laboratory

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, fakes: ModuleType) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(cell_runs, "_LOOK_S", 0.05)
    monkeypatch.setattr(composing, "compose", lambda overrides: fakes.composed_once(tuple(overrides)))
    monkeypatch.setattr(laboratory, "open_dataset", fakes.images)
    monkeypatch.setattr(experiment, "write_experiment", lambda folder, outputs: None)


def typed(fakes: ModuleType, outputs: Path, study: str, log: Path, *overrides: str) -> int:
    """An experiment of table 6 in a folder of its own, over the cells that all share."""

    def note(config, case) -> None:
        with log.open("a") as stream:
            stream.write(f"{config.dataset.name} {config.area.enabled} {case.case_id}\n")

    cell_runs.execute = fakes.runs([], 0.01, note)
    config, command = fakes.configured(outputs, "+experiment=table6", "figures=none", *overrides)
    return experiment.command(config, outputs / "experiments" / study, command)


def at_once(*works) -> list[int]:
    def child(work) -> None:
        os._exit(work())

    processes = [FORK.Process(target=child, args=(each,)) for each in works]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    return [each.exitcode for each in processes]


def made_once(log: Path, cells: int) -> None:
    counts = Counter(log.read_text().splitlines())
    assert set(counts.values()) == {1} and len(counts) == 12 * cells


@pytest.mark.ci
def test_two_experiments_at_once_make_each_cell_once(fakes: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    codes = at_once(*(lambda name=name: typed(fakes, tmp_path / "out", name, log) for name in ("one", "two")))
    assert codes == [0, 0]
    made_once(log, 6)
    tables = [(tmp_path / "out/experiments" / name / "table6.csv").read_text() for name in ("one", "two")]
    assert tables[0] == tables[1]


@pytest.mark.ci
def test_workers_make_cells_and_the_command_that_started_them_the_tables(
    fakes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, outputs = tmp_path / "log", tmp_path / "out"

    class Engine:
        how_to_look = how_to_stop = ""

        def start(self, commands, logs):
            assert all("shard=auto" in each and "executor=processes" not in each for each in commands)
            assert not (outputs / "experiments/study/study.json").exists()
            codes = at_once(*[lambda: typed(fakes, outputs, "study", log, "shard=auto")] * len(commands))
            assert codes == [0] * len(commands)

            return SimpleNamespace(ids=["1"], states=lambda: {"1": "finished"}, stop=lambda: None)

    monkeypatch.setattr(_crew, "engine", lambda config: Engine())
    assert typed(fakes, outputs, "study", log, "executor=processes") == 0
    made_once(log, 6)
    assert json.loads((outputs / "experiments/study/study.json").read_text())["counters"]["cells"] == 6
