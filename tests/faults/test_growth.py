"""What takes more than its share of time as things grow, found by counting calls: the same on every machine.

From n to 2n to 4n the second step may cost no more than three times the first: work in proportion costs twice as much,
work by pairs four times.
"""

from __future__ import annotations

import gc
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from salip_exp._tuning.tune import study_in
from salip_exp.cache._base import Stage
from salip_exp.cache._files import entry_path
from salip_exp.cache.store import MemoryStore
from salip_exp.methods.base import Prediction

SIZES = (8, 16, 32)


def in_proportion(work: dict[int, int]) -> bool:
    first, second = work[SIZES[1]] - work[SIZES[0]], work[SIZES[2]] - work[SIZES[1]]
    return work[SIZES[2]] < 6 * work[SIZES[0]] and second < 3 * max(first, work[SIZES[0]] // 20)


@pytest.mark.ci
@pytest.mark.fault("B6")
def test_runs_and_resuming_grow_as_their_cases(fakes: Any, tmp_path: Path, helpers: Any) -> None:
    fakes.run_fake(tmp_path / "first", figures="none")  # what is made once is made
    run, again = {}, {}
    for n in SIZES:
        cases = [fakes.make_case(i, f"v{i // 4}/axial_{i}", f"v{i // 4}") for i in range(n)]
        folder = tmp_path / str(n)
        run[n] = helpers.calls(lambda cases=cases, folder=folder: fakes.run_fake(folder, cases, figures="none"))
        (folder / "status.json").write_text(json.dumps({"state": "killed"}))
        again[n] = helpers.calls(
            lambda cases=cases, folder=folder: fakes.run_fake(folder, cases, figures="none", resume=True)
        )
    assert in_proportion(run), run
    assert in_proportion(again), again


@pytest.mark.ci
@pytest.mark.fault("B6")
def test_reports_grow_as_their_runs_and_a_second_one_costs_a_fraction(
    fakes: Any, typed: Callable[..., Any], tmp_path: Path, helpers: Any
) -> None:
    fakes.run_fake(tmp_path / "one", figures="none")
    first, second = {}, {}
    for n in SIZES:
        for number in range(n):
            shutil.copytree(tmp_path / "one", tmp_path / str(n) / f"data {number}" / "run" / f"{number}")
        told = ("task=report", f"outputs={tmp_path / str(n)}")
        first[n], second[n] = (helpers.calls(lambda told=told: typed(*told)) for _ in "12")
    assert in_proportion(first), first
    assert in_proportion(second), second
    assert second[SIZES[2]] < first[SIZES[2]] / 2


@pytest.mark.ci
@pytest.mark.fault("B6")
@pytest.mark.parametrize("told", ["cache.prune=true", "cache.clear=true", "cache.mode=disk"])
def test_looking_through_the_cache_grows_as_its_entries(
    typed: Callable[..., Any], tmp_path: Path, helpers: Any, told: str
) -> None:
    work = {}
    for n in SIZES:
        folder = tmp_path / str(n)
        for i in range(50 * n):
            path = entry_path(folder, list(Stage)[i % len(Stage)], f"{i:064x}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(np.uint32(i).tobytes() * 250)
        command = ("task=cache", f"cache.folder={folder}", told, "progress=false")
        work[n] = helpers.calls(lambda command=command: typed(*command))
    assert in_proportion(work), work


@pytest.mark.ci
@pytest.mark.fault("B9")
def test_a_finished_case_holds_its_record_and_nothing_else(fakes: Any, tmp_path: Path) -> None:
    """Bytes that Python holds per finished case, between the 16th and the 64th."""
    held, alive = {}, {}
    seen: list[str] = []

    def before(case: Any) -> None:
        seen.append(case.case_id)
        if len(seen) in (16, 32, 64):
            gc.collect()
            held[len(seen)] = tracemalloc.get_traced_memory()[0]
            alive[len(seen)] = sum(isinstance(each, Prediction) for each in gc.get_objects())

    cases = [fakes.make_case(i, f"v{i // 4}/axial_{i}", f"v{i // 4}") for i in range(65)]
    tracemalloc.start()
    try:
        fakes.run_fake(tmp_path / "run", cases, fakes.Threshold(before=before), figures="none")
    finally:
        tracemalloc.stop()
    first, second = (held[32] - held[16]) / 16, (held[64] - held[32]) / 32
    print(f"{first:.0f} and {second:.0f} bytes a case")
    assert second < 8 << 10 and second < 2 * first + 1024, held
    assert max(alive.values()) <= 2, alive


@pytest.mark.ci
@pytest.mark.fault("B6")
def test_studies_grow_as_their_trials(
    module_at: Callable[[Path], ModuleType], blob_sam: Any, random_clip: Any, tmp_path: Path, helpers: Any
) -> None:
    stubs, store = module_at(Path(__file__).parents[1] / "tuning" / "stubs.py"), MemoryStore(2**28)

    def study(n: int, folder: Path) -> None:
        study_in(stubs.config(n_trials=n), folder, stubs.StubLab(blob_sam, random_clip, store=store))

    study(SIZES[2], tmp_path / "first")  # the stages of all settings are made
    work = {n: helpers.calls(lambda n=n: study(n, tmp_path / str(n))) for n in SIZES}
    assert in_proportion(work), work
