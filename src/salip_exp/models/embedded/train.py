"""Train the embedded SAM and CLIP on synthetic images only, and write them into the package.

python -m salip_exp.models.embedded.train

Phantoms are drawn into a bank, SAM learns from it in two phases, a second bank holds views of what SAM then proposes,
and CLIP learns from that. Every stage goes on where it stopped. On a CPU every core is used; on a GPU the networks run
there and the cores draw pictures.
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

from salip_exp.files import cache_folder
from salip_exp.models.embedded import train_clip, train_sam
from salip_exp.models.embedded.architecture import build_clip, build_sam
from salip_exp.models.embedded.files import read_clip, read_sam, save_clip, save_sam
from salip_exp.models.embedded.loop import Recipe, train
from salip_exp.models.embedded.parallel import run_on_cores
from salip_exp.models.embedded.scenes import Bank, make_bank
from salip_exp.models.embedded.sums import write_sums
from salip_exp.models.embedded.view_bank import PART, ViewBank, folder_of, make_views
from salip_exp.models.packages import CLIP

PACKAGE = Path(__file__).parent
COUNTS = {"brain": 120, "head": 4000, "chest": 3000}
SAM_RECIPE = Recipe(steps=3800, batch=8, rate=8e-4)
SAM_AGAIN = Recipe(steps=1700, batch=8, rate=5e-4, warmup=150)
"""SAM's second phase: a fresh schedule from the first one's average, or from the packaged weights."""
AGAIN_SCENES = 5 * 10**6
"""Number of the second phase's first scene: it sees none of the first phase's again."""
CLIP_RECIPE = Recipe(steps=1600, batch=12, rate=1e-3, warmup=100, average=0.995, save_every=100)
"""A batch of CLIP is so many scenes, of each of which PER_SCENE candidates are shown."""
PER_SCENE = 16
VIEW_PARTS = 22


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
    """Batches from a step on; drawn by worker processes where the network runs elsewhere."""
    yield from DataLoader(Steps(make, start, recipe.steps), batch_size=None, num_workers=workers)


@dataclass(frozen=True)
class Plan:
    """What a stage is told: where to work, and from which phantoms and seed."""

    work: Path
    counts: dict[str, int]
    seed: int

    @property
    def first_sam(self) -> Path:
        """SAM after its first phase."""
        return self.work / "sam_first.safetensors"

    @property
    def sam(self) -> Path:
        """The trained SAM."""
        return self.work / "sam_tiny.safetensors"

    @property
    def clip(self) -> Path:
        """The trained CLIP."""
        return self.work / "clip_tiny.safetensors"


def train_sam_stage(rank: int, world: int, plan: Plan, recipe: Recipe, start: Path | None) -> None:
    """Train SAM as process `rank` of `world`; the first process writes the weights.

    Args:
        start: weights to go on from, which makes it the second phase; None begins with random ones, the first.
    """
    device, workers = where()
    torch.manual_seed(plan.seed)
    net = build_sam().to(device)
    scene, into = 0, plan.first_sam
    if start is not None:
        net.load_state_dict(read_sam(start))
        scene, into = AGAIN_SCENES, plan.sam
    samples = train_sam.Samples(Bank(plan.work, plan.counts, plan.seed), scene, scene + recipe.steps * recipe.batch)
    make = partial(sam_batch, samples, recipe.batch // world, rank, recipe.batch)
    checkpoint = into.with_suffix(".pt")
    mean = train(net, recipe, partial(feed, make, recipe, workers), train_sam.loss, checkpoint, device)
    if rank == 0:
        save_sam(mean.cpu(), into)


def view_stage(rank: int, world: int, plan: Plan, parts: int) -> None:
    """Segment CLIP's scenes with the trained SAM, as process `rank` of `world`."""
    sam = build_sam()
    sam.load_state_dict(read_sam(plan.sam))
    side = build_clip().visual.input_resolution
    bank = Bank(plan.work, plan.counts, plan.seed)
    make_views(bank, sam, folder_of(plan.work, plan.sam), side, range(rank, parts, world))


def train_clip_stage(rank: int, world: int, plan: Plan, recipe: Recipe, parts: int, start: Path | None) -> None:
    """Train CLIP on a bank of views, as process `rank` of `world`; the first writes the weights.

    Args:
        parts: of the bank of views.
        start: weights to go on from; None begins with random ones.
    """
    device, workers = where()
    torch.manual_seed(plan.seed)
    first = build_clip()
    if start is not None:
        first.load_state_dict(read_clip(start))
    net = copy.deepcopy(first).to(device)
    views = ViewBank(folder_of(plan.work, plan.sam), parts, plan.seed)
    make = partial(clip_batch, views, recipe.batch // world, rank, world)
    checkpoint = plan.clip.with_suffix(".pt")
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
    counts = {kind: max(1, count * given.phantoms // 100) for kind, count in COUNTS.items()}
    make_bank(given.work, counts, given.seed, cores)
    plan = Plan(given.work, counts, given.seed)
    packaged = given.start_from_package
    if not packaged:
        run_on_cores(train_sam_stage, processes, plan, replace(SAM_RECIPE, steps=given.sam_steps), None)
    again = replace(SAM_AGAIN, steps=given.sam_again_steps)
    run_on_cores(train_sam_stage, processes, plan, again, PACKAGE / plan.sam.name if packaged else plan.first_sam)
    run_on_cores(view_stage, processes, plan, given.view_parts)
    clip = replace(CLIP_RECIPE, steps=given.clip_steps)
    start = PACKAGE / plan.clip.name if packaged else None
    run_on_cores(train_clip_stage, processes, plan, clip, given.view_parts, start)
    for path in (plan.sam, plan.clip):
        shutil.copyfile(path, given.into / f".{path.name}")
        os.replace(given.into / f".{path.name}", given.into / path.name)
    write_sums(given.into)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work = cache_folder() / "training"
    parser.add_argument("--work", type=Path, default=work, help="where bank and checkpoints go")
    parser.add_argument("--into", type=Path, default=PACKAGE, help="folder that gets the weights")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--sam-steps", type=int, default=SAM_RECIPE.steps)
    parser.add_argument("--sam-again-steps", type=int, default=SAM_AGAIN.steps)
    parser.add_argument("--clip-steps", type=int, default=CLIP_RECIPE.steps)
    parser.add_argument("--phantoms", type=int, default=100, help="size of the bank, in percent")
    parser.add_argument("--view-parts", type=int, default=VIEW_PARTS, help=f"bank of views, in parts of {PART} scenes")
    parser.add_argument(
        "--start-from-package",
        action="store_true",
        help="go on from the packaged weights: SAM's second phase, and CLIP from where it stands",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
