"""A study of six ablations over one data set, with one cache on disk: what each costs after the default run.

Every run has its own process's view of the cache: nothing in memory, everything on disk. Once through the package's
method objects, networks loaded already; once as whole runs in one process; once as commands, as users see them.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from clock import Times
from contestant import method
from networks import Networks, load
from pictures import SETS, cases_of, configured
from plan import Plan
from processes import Answer, Conditions, fresh
from rows import Row

from salip_exp._runs.runner import run as run_whole
from salip_exp.cache.store import open_store
from salip_exp.config import CacheConfig, CacheMode, Config
from salip_exp.data.case import Case

SENTENCES = "a smooth grey oval,a round organ with a folded border,a bright shape on a dark ground"
ABLATIONS = {
    "default": [],
    "no filter": ["+ablation=no_filter"],
    "retrieved candidate as prediction": ["method=sam_clip"],
    "other sentences": [f"vdt.sentences=[{SENTENCES}]"],
    "view box": ["view.kind=box"],
    "view contour": ["view.kind=contour"],
}
OWN = ("views", "retrieval")
"""Stages that hold drawing a view, and CLIP's forwards."""


def benchmark(plan: Plan, conditions: Conditions) -> Iterator[Row]:
    """The study through method objects, for each data set, and through the command line."""
    place = {"threads": conditions.threads, "allocator": conditions.allocator, "side": 256}
    for name in SETS:
        arguments = {"weights": plan.weights, "dataset": name, "cases": plan.cases, "studies": plan.studies}
        for answer in fresh(conditions, measure, **arguments):
            yield Row("study", plan.weights, who="salip_exp", **place, **answer)
    whole = fresh(conditions, runs, cases=plan.run_cases), commands(plan.run_cases, conditions.threads)
    for answer in chain(*whole):
        yield Row("study", plan.weights, who="salip_exp", **place, **answer)


def measure(weights: str, dataset: str, cases: int, studies: int) -> Iterator[Answer]:
    """Medians over several studies, each with a new cache."""
    networks = load(weights)
    configs = {name: configured(f"dataset={dataset}", *changes) for name, changes in ABLATIONS.items()}
    images = cases_of(configs["default"], cases)
    times = {name: Times() for name in ABLATIONS}
    stages: dict[str, list[Counter[str]]] = {name: [] for name in ABLATIONS}
    work: dict[str, dict[str, int]] = {}
    for _ in range(studies):
        with tempfile.TemporaryDirectory() as folder:
            for name, config in configs.items():
                with times[name].measured():
                    work[name], seconds = run(config, networks, images, folder)
                stages[name].append(seconds)
    for name, each in times.items():
        setting = f"{dataset}, {len(images)} images: {name}"
        yield from report(setting, each, times["default"], stages[name], work[name])


def run(config: Config, networks: Networks, images: list[Case], folder: str) -> tuple[dict[str, int], Counter[str]]:
    """One run with what is on disk; the networks' work, and seconds by stage."""
    store = open_store(CacheConfig(mode=CacheMode.disk, folder=folder))
    runner = method(config, networks, store)
    seconds: Counter[str] = Counter()
    for case in images:
        seconds.update(runner.predict(case).seconds)
    return runner.counters.to_dict(), seconds


def report(
    setting: str, times: Times, default: Times, stages: list[Counter[str]], work: dict[str, int]
) -> Iterator[Answer]:
    """Seconds as a share of the default run, and what of them is not the run's own views and CLIP forwards."""
    figures, whole = times.figures(), default.figures()["value"]
    did = ", ".join(f"{count} {name}" for name, count in work.items() if count) or "no network's work"
    yield {"setting": setting, "unit": "s", "work": did, **figures, **share(figures["value"], whole, times is default)}
    if times is not default and work["clip_images"]:
        rest = median(wall - sum(each[name] for name in OWN) for wall, each in zip(times.wall, stages, strict=True))
        drawing = median(each["views"] for each in stages)
        for part, seconds in (("without its views and CLIP", rest), ("drawing its views", drawing)):
            yield {
                "setting": f"{setting}, {part}",
                "unit": "s",
                "value": seconds,
                "n": figures["n"],
                **share(seconds, whole),
            }


def share(seconds: float, default: float, is_default: bool = False) -> Answer:
    """Columns that compare with the default run, which is not compared with itself."""
    return {} if is_default else {"ratio": seconds / default, "ratio_of": "of the default run"}


def runs(cases: int) -> Iterator[Answer]:
    """The study as six runs one after the other in one process (`-m`), networks loaded for each."""
    default = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in ABLATIONS.items():
            options = [f"dataset.limit={cases}", f"cache.folder={folder}/cache", f"outputs={folder}", "progress=false"]
            config, times = configured("dataset=phantom_cc359", *changes, *options), Times()
            with times.measured(), redirect_stdout(io.StringIO()):
                run_whole(config, Path(folder, name), ["benchmark"])
            figures = times.figures()
            default = default or figures["value"]
            setting = f"whole runs in one process, {cases} images: {name}"
            yield {"setting": setting, "unit": "s", **figures, **share(figures["value"], default, name == "default")}


def commands(cases: int, threads: int) -> Iterator[Answer]:
    """The study as six commands: the whole process with its imports, and its loop over cases."""
    default: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in ABLATIONS.items():
            whole, cpu, loop = command(changes, cases, threads, Path(folder), name.replace(" ", "_"))
            default = default or {"whole": whole, "loop": loop}
            for part, seconds, what in (("whole", whole, "whole process"), ("loop", loop, "its loop over cases")):
                setting = f"python -m salip_exp, {cases} images: {name}, {what}"
                answer: Answer = {"setting": setting, "unit": "s", "value": seconds}
                answer["cpu"] = cpu if part == "whole" else None
                yield answer | share(seconds, default[part], name == "default")


def command(changes: list[str], cases: int, threads: int, folder: Path, name: str) -> tuple[float, float, float]:
    """Wall and processor seconds of a command, and the seconds of its loop over cases."""
    run_folder = folder / name
    options = [f"threads={threads}", f"dataset.limit={cases}", f"cache.folder={folder / 'cache'}", "progress=false"]
    places = [f"outputs={folder}", f"hydra.run.dir={run_folder}"]
    line = [sys.executable, "-W", "ignore", "-m", "salip_exp", *changes, *options, *places]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    before, start = children(), time.perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall = time.perf_counter() - start
    manifest: dict[str, Any] = json.loads((run_folder / "manifest.json").read_text())
    return wall, children() - before, manifest["stages"]["cases"]["seconds"]


def children() -> float:
    """Processor seconds of processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
