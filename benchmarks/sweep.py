"""A sweep over the authors' search space: every trial a configuration, run on every image.

The naive way makes a new SamAutomaticMaskGenerator for each trial and image, shows all crops to CLIP again, and encodes
the image again for the box prompt. The package runs the same trials through its method objects with one memory store.
The reference is timed on some trials of each grid, right after the package ran them, and every one is compared: the
whole pool and the final mask, bit for bit. Its time for all trials follows from these: for each grid the mean seconds
of SAM, and for every crop of every trial (the package tells how many there are) the mean seconds of CLIP. Its text is
encoded once and not counted, which published code does for every image.

The trials are drawn with a seed, each grid equally often.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from clock import Times
from contestant import method
from networks import Networks, load
from pictures import cases_of, configured
from plan import Plan
from processes import Answer, Conditions, fresh
from reference import prototype, published, require_same
from rows import Row
from trial import RememberingStore, marginal

from salip_exp.cascade.sentences import read_sentences
from salip_exp.cascade.work import Counters
from salip_exp.config import Config
from salip_exp.data.case import Case

SPACE: dict[str, list[float]] = {
    "pred_iou_thresh": [0.2, 0.5, 0.8],
    "stability_score_thresh": [0.2, 0.5, 0.8],
    "box_nms_thresh": [0.7, 0.8, 0.9],
    "crop_nms_thresh": [0.7, 0.8, 0.9],
}
AREAS = [20000, 40000, 50000]
PAPER = ("dataset=phantom_hc18", "preset=paper", "clip.precision=float32")
"""Ultrasound phantoms of 256 x 256 pixels; a crop layer with half the points per side, small regions of 200 pixels."""
MEMORY = 2048 << 20


@dataclass
class Naive:
    """What the reference took for trials on one grid, and for CLIP."""

    trials: Times = field(default_factory=Times)
    sam: Times = field(default_factory=Times)


@dataclass
class Tally:
    """What a sweep took.

    Attributes:
        ours: the package's seconds, a trial on an image a piece.
        crops: candidates shown to CLIP, trial by trial and image by image.
        naive: the reference's, by grid.
        clip: the reference's seconds in CLIP, and how many crops they were for.
    """

    ours: Times = field(default_factory=Times)
    crops: list[int] = field(default_factory=list)
    naive: dict[int, Naive] = field(default_factory=dict)
    clip: Times = field(default_factory=Times)
    clip_crops: int = 0


def benchmark(plan: Plan, conditions: Conditions) -> Iterator[Row]:
    """The sweep, then what another trial costs."""
    sizes = {"images": plan.images, "trials": plan.trials, "grids": plan.grids, "per_grid": plan.per_grid}
    for answer in fresh(conditions, measure, weights=plan.weights, **sizes):
        row = {"benchmark": "sweep", "side": 256, **answer}
        yield Row(weights=plan.weights, threads=conditions.threads, allocator=conditions.allocator, **row)


def drawn(base: Config, trials: int, grids: Sequence[int]) -> list[Config]:
    """Configurations of a sweep, the grids in turn."""
    rng = random.Random(1234)
    configs = []
    for number in range(trials):
        values = {name: rng.choice(choices) for name, choices in SPACE.items()}
        sam = replace(base.sam, points_per_side=grids[number % len(grids)], **values)
        configs.append(replace(base, sam=sam, area=replace(base.area, threshold=rng.choice(AREAS))))
    return configs


def measure(weights: str, images: int, trials: int, grids: Sequence[int], per_grid: int) -> Iterator[Answer]:
    """Run the sweep, compare and time the reference on some of it, and report."""
    networks = load(weights)
    base = configured(*PAPER, f"sam={weights.partition('+')[0]}")
    cases, configs = cases_of(base, images), drawn(base, trials, grids)
    store, work, tally = RememberingStore(MEMORY), Counters(), Tally()
    compared = chosen(configs, len(cases), per_grid)
    for number, config in enumerate(configs):
        with tally.ours.measured():
            runner = method(config, networks, store)
        for place, case in enumerate(cases):
            with tally.ours.measured():
                prediction = runner.predict(case)
            tally.crops.append(len(prediction.kept_ids))
            if (number, place) in compared:
                yield naive(networks, config, case, prediction, tally)
        work += runner.counters
    yield from totals(tally, configs, len(cases), work, networks.clip is not None)
    yield from marginal(networks, configs, cases, store, naive_mean(tally))


def chosen(configs: Sequence[Config], images: int, per_grid: int) -> set[tuple[int, int]]:
    """Trials (number, image) that the reference is timed on: for each grid, evenly spread over the sweep."""
    picked = set()
    for grid in {each.sam.points_per_side for each in configs}:
        numbers = [i for i, each in enumerate(configs) if each.sam.points_per_side == grid]
        count = min(per_grid, len(numbers))
        picked |= {(numbers[i * len(numbers) // count], i % images) for i in range(count)}
    return picked


def naive(networks: Networks, config: Config, case: Case, prediction: Any, tally: Tally) -> Answer:
    """Time the reference on a trial and compare; the mean of its grid so far."""
    judge = networks.clip.net if networks.clip else None
    text = prototype(judge, read_sentences(config.vdt)) if judge else None
    grid = config.sam.points_per_side
    taken = tally.naive.setdefault(grid, Naive())
    with taken.trials.measured():
        found = published(networks.sam.net, judge, text, case.image, config)
    require_same(prediction.pool, prediction.mask, found)
    taken.sam.add(sum(found.sam.wall), sum(found.sam.cpu))
    tally.clip.add(sum(found.clip.wall), sum(found.clip.cpu))
    tally.clip_crops += found.crops
    return {
        "setting": f"one trial on one image, grid {grid}, equal",
        "who": "reference",
        "value": fmean(taken.trials.wall),
        "cpu": fmean(taken.trials.cpu),
        "minimum": min(taken.trials.wall),
        "unit": "s",
        "n": len(taken.trials.wall),
    }


def naive_mean(tally: Tally) -> tuple[float, float]:
    """Wall and processor seconds of the reference's mean trial on an image, each grid counting the same."""
    walls = [fmean(each.trials.wall) for each in tally.naive.values()]
    cpus = [fmean(each.trials.cpu) for each in tally.naive.values()]
    return fmean(walls), fmean(cpus)


def totals(tally: Tally, configs: Sequence[Config], images: int, work: Counters, with_clip: bool) -> Iterator[Answer]:
    """The whole sweep: the reference's seconds as they follow from the timed trials, and the package's own."""
    what = f"{len(configs)} trials, {images} images{'' if with_clip else ', no CLIP'}"
    grids = [each.sam.points_per_side for each in configs]
    per_crop = [sum(times) / max(1, tally.clip_crops) for times in (tally.clip.wall, tally.clip.cpu)]
    wall = sum(images * fmean(tally.naive[grid].sam.wall) for grid in grids) + sum(tally.crops) * per_crop[0]
    cpu = sum(images * fmean(tally.naive[grid].sam.cpu) for grid in grids) + sum(tally.crops) * per_crop[1]
    timed = sum(len(each.trials.wall) for each in tally.naive.values())
    crops = f" + {sum(tally.crops)} crops" if with_clip else ""
    how = f"{timed} of {len(grids) * images} trial-images timed: mean of SAM by grid{crops}"
    yield {"setting": what, "who": "reference", "unit": "s", "value": wall, "cpu": cpu, "n": timed, "extrapolated": how}
    ours, ours_cpu = sum(tally.ours.wall), sum(tally.ours.cpu)
    yield {
        "setting": what,
        "who": "salip_exp",
        "unit": "s",
        "value": ours,
        "cpu": ours_cpu,
        "n": len(grids) * images,
        "ratio": wall / ours,
        "ratio_of": f"reference / salip_exp, of cpu {cpu / ours_cpu:.1f}",
    }
    for name, count in work.to_dict().items():
        if count:
            yield {"setting": f"{what}: {name}", "who": "salip_exp", "unit": "count", "value": count}
