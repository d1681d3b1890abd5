"""Train the embedded SAM and CLIP on synthetic images only, and write them into the package.

python -m tools.embedded.train                   the tiny ones
python -m tools.embedded.train --course small    the small ones, which begin as the tiny ones of the package

Phantoms are drawn into a bank, SAM learns from it, a second bank holds views of what SAM then proposes, and CLIP learns
from that. Every stage goes on where it stopped. On a CPU every core is used; on a GPU the networks run there, longer
and on more pictures, and the cores draw.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from salip_exp._files import cache_folder
from salip_exp.networks._embedded.networks import build_clip, build_sam, read_clip, read_sam
from salip_exp.networks.packages import CLIP
from salip_exp.networks.registry import EMBEDDED
from tools.embedded import train_clip, train_sam
from tools.embedded.files import save_clip, save_sam, write_sums
from tools.embedded.growth import grow
from tools.embedded.loop import Recipe, train
from tools.embedded.parallel import run_on_cores
from tools.embedded.scenes import Bank, make_bank
from tools.embedded.view_bank import ViewBank, folder_of, make_views

PER_SCENE = 16
"""Candidates of a scene in a batch of CLIP, whose recipe counts scenes."""


@dataclass(frozen=True)
class Course:
    """How much is learnt: phantoms in the bank, SAM's and CLIP's recipes, parts of the bank of views, and the size.

    `grown` networks begin as the tiny ones of the package, deeper by blocks that at first change nothing.
    """

    phantoms: dict[str, int]
    sam: Recipe
    clip: Recipe
    view_parts: int
    size: str = "tiny"
    grown: bool = False


COURSES = {
    "short": Course(
        phantoms={"brain": 120, "head": 4000, "chest": 3000},
        sam=Recipe(steps=5500, batch=8, rate=8e-4),
        clip=Recipe(steps=1600, batch=12, rate=1e-3, warmup=100, average=0.995, save_every=100),
        view_parts=88,
    ),
    "long": Course(
        phantoms={"brain": 240, "head": 12000, "chest": 5000},
        sam=Recipe(steps=6200, batch=64, rate=1e-3, warmup=600, average=0.999, save_every=500),
        clip=Recipe(steps=2600, batch=32, rate=1e-3, warmup=300, average=0.998, save_every=1000),
        view_parts=150,
    ),
    "small": Course(
        phantoms={"brain": 60, "head": 3000, "chest": 2000, "abdomen": 3000, "heart": 2000},
        sam=Recipe(steps=3000, batch=8, rate=5e-4, warmup=200, save_every=100),
        clip=Recipe(steps=1600, batch=12, rate=8e-4, warmup=100, average=0.995, save_every=100),
        view_parts=96,
        size="small",
        grown=True,
    ),
}
"""Short: at most 90 minutes of two cores. Long: some 20 minutes of a GPU and 16 cores. Small: 75 minutes of two."""


class Steps(Dataset[Any]):
    """Whole batches by step number: each process of `world` gets its share."""

    def __init__(self, make: Any, start: int, stop: int) -> None:
        self.make, self.start, self.stop = make, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, item: int) -> Any:
        return self.make(self.start + item)


def sam_batch(samples: train_sam.Samples, share: int, rank: int, batch: int, step: int) -> train_sam.Sample:
    """This process's part of a step's samples, stacked."""
    first = step * batch + rank * share
    return default_collate([samples[first + i] for i in range(share)])  # type: ignore[no-any-return]


def clip_batch(views: ViewBank, share: int, rank: int, world: int, step: int) -> train_clip.Views:
    """This process's part of a step's views."""
    return views.batch(share, PER_SCENE, step * world + rank)


def feed(make: Any, recipe: Recipe, workers: int, start: int) -> Iterator[Any]:
    """Batches from a step on; drawn by worker processes, forked here and now, where the network runs elsewhere."""
    steps = Steps(make, start, recipe.steps)
    # Forked: to send a bank of gigabytes to each process takes longer than the training.
    context, pinned = "fork" if workers else None, torch.cuda.is_available()
    return iter(
        DataLoader(steps, batch_size=None, num_workers=workers, pin_memory=pinned, multiprocessing_context=context)
    )


@dataclass(frozen=True)
class Plan:
    """What a stage is told: where to work, what to learn, and from which seed."""

    work: Path
    course: Course
    seed: int

    @property
    def sam(self) -> Path:
        """The trained SAM."""
        return self.work / f"sam_{self.course.size}.safetensors"

    @property
    def clip(self) -> Path:
        """The trained CLIP."""
        return self.work / f"clip_{self.course.size}.safetensors"

    def bank(self) -> Bank:
        """The phantoms to learn from."""
        return Bank(self.work, self.course.phantoms, self.seed)


def train_sam_stage(rank: int, world: int, plan: Plan) -> None:
    """Train SAM as process `rank` of `world`; the first process writes the weights."""
    device, workers = where()
    torch.manual_seed(plan.seed)
    recipe = plan.course.sam
    samples = train_sam.Samples(plan.bank(), recipe.steps * recipe.batch)
    make = partial(sam_batch, samples, recipe.batch // world, rank, recipe.batch)
    checkpoint = plan.sam.with_suffix(".pt")
    net = build_sam(plan.course.size)
    if plan.course.grown:
        grow(net, read_sam(EMBEDDED / "sam_tiny.safetensors"))
    mean = train(net, recipe, partial(feed, make, recipe, workers), train_sam.loss, checkpoint, device)
    if rank == 0:
        save_sam(mean.cpu(), plan.sam)


def view_stage(rank: int, world: int, plan: Plan) -> None:
    """Segment CLIP's scenes with the trained SAM, as process `rank` of `world`."""
    sam = build_sam(plan.course.size)
    sam.load_state_dict(read_sam(plan.sam))
    side = build_clip(plan.course.size).visual.input_resolution
    numbers = range(rank, plan.course.view_parts, world)
    make_views(plan.bank(), sam, folder_of(plan.work, plan.sam), side, numbers)


def train_clip_stage(rank: int, world: int, plan: Plan) -> None:
    """Train CLIP on a bank of views, as process `rank` of `world`; the first writes the weights."""
    device, workers = where()
    torch.manual_seed(plan.seed)
    first, recipe = build_clip(plan.course.size), plan.course.clip
    views = ViewBank(folder_of(plan.work, plan.sam), plan.course.view_parts, plan.seed)
    make = partial(clip_batch, views, recipe.batch // world, rank, world)
    checkpoint = plan.clip.with_suffix(".pt")
    net = copy.deepcopy(first)
    if plan.course.grown:
        grow(net, read_clip(EMBEDDED / "clip_tiny.safetensors"))
    mean = train(net, recipe, partial(feed, make, recipe, workers), train_clip.loss, checkpoint, device)
    if rank == 0:
        save_clip(mean.cpu(), used_rows(first, mean), plan.clip)


def where() -> tuple[torch.device, int]:
    """The device to train on, and the processes that draw pictures for it: none on a CPU, which is busy enough."""
    if torch.cuda.is_available():
        return torch.device("cuda"), len(os.sched_getaffinity(0))
    return torch.device("cpu"), 0


def used_rows(first: CLIP, trained: CLIP) -> torch.Tensor:
    """Vocabulary rows that training changed: the words that got a meaning."""
    changed: torch.Tensor = (first.token_embedding.weight != trained.token_embedding.weight).any(dim=1)
    return changed.nonzero().flatten().to(torch.int32)


def main() -> None:
    """Bank, SAM, views, CLIP, and the weights into the package."""
    given = _arguments()
    cores = len(os.sched_getaffinity(0))
    processes = 1 if torch.cuda.is_available() else next(n for n in (4, 2, 1) if n <= cores)
    plan = Plan(given.work, _scaled(COURSES[given.course], given.percent), given.seed)
    make_bank(plan.work, plan.course.phantoms, plan.seed, cores)
    run_on_cores(train_sam_stage, processes, plan)
    run_on_cores(view_stage, cores, plan)
    run_on_cores(train_clip_stage, processes, plan)
    for path in (plan.sam, plan.clip):
        shutil.copyfile(path, given.into / f".{path.name}")
        os.replace(given.into / f".{path.name}", given.into / path.name)
    write_sums(given.into)


def _scaled(course: Course, percent: float) -> Course:
    """A course with so many percent of its phantoms, steps and views."""

    def some(count: int) -> int:
        return max(1, round(count * percent / 100))

    return replace(
        course,
        phantoms={kind: some(count) for kind, count in course.phantoms.items()},
        sam=replace(course.sam, steps=some(course.sam.steps)),
        clip=replace(course.clip, steps=some(course.clip.steps)),
        view_parts=some(course.view_parts),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work, usual = cache_folder() / "training", "long" if torch.cuda.is_available() else "short"
    parser.add_argument("--work", type=Path, default=work, help="where bank and checkpoints go")
    parser.add_argument("--into", type=Path, default=EMBEDDED, help="folder that gets the weights")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--course", choices=COURSES, default=usual, help="long where there is a GPU, else short")
    parser.add_argument("--percent", type=float, default=100, help="of the course's phantoms, steps and views")
    return parser.parse_args()


if __name__ == "__main__":
    main()
