"""Train the embedded SAM and CLIP on synthetic images only, and write them into the package.

    python -m salip_exp.models.embedded.train

Phantoms are drawn into a bank, SAM learns from it, CLIP learns from what SAM proposes. Every stage goes on where it
stopped. On a CPU every core is used; on a GPU the networks run there and the cores draw pictures.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from segment_anything.modeling import Sam
from torch.utils.data import DataLoader, Dataset, default_collate

from salip_exp.models.embedded import train_clip, train_sam
from salip_exp.models.embedded.architecture import build_clip, build_sam
from salip_exp.models.embedded.files import save_clip, save_sam, write_sums
from salip_exp.models.embedded.loop import Recipe, train
from salip_exp.models.embedded.parallel import run_on_cores
from salip_exp.models.embedded.scenes import Bank, make_bank
from salip_exp.models.packages import CLIP

PACKAGE = Path(__file__).parent
COUNTS = {"brain": 120, "head": 4000, "chest": 3000}
SAM_RECIPE = Recipe(steps=4000, batch=8, rate=8e-4)
CLIP_RECIPE = Recipe(steps=700, batch=12, rate=1e-3, warmup=100, average=0.99, save_every=50)
"""A batch of CLIP is so many scenes, of each of which PER_SCENE candidates are shown."""
PER_SCENE = 16


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


def clip_batch(bank: Bank, sam: Sam, share: int, rank: int, world: int, step: int) -> train_clip.Views:
    """This process's part of a step's views."""
    side = build_clip().visual.input_resolution
    return train_clip.views_of(bank, sam, step * world + rank, share, PER_SCENE, side)


def feed(make: Any, recipe: Recipe, workers: int, start: int) -> Iterator[Any]:
    """Batches from a step on; drawn by worker processes where the network runs elsewhere."""
    yield from DataLoader(Steps(make, start, recipe.steps), batch_size=None, num_workers=workers)


def train_stage(rank: int, world: int, stage: str, work: Path, recipe: Recipe, counts: dict[str, int], seed: int) -> None:
    """Train one network as process `rank` of `world`; the first process writes the weights."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    workers = 0 if device.type == "cpu" else len(os.sched_getaffinity(0))
    bank = Bank(work, counts, seed)
    share = recipe.batch // world
    torch.manual_seed(seed)
    if stage == "sam":
        net = build_sam().to(device)
        make = partial(sam_batch, train_sam.Samples(bank, 0, recipe.steps * recipe.batch), share, rank, recipe.batch)
        mean = train(net, recipe, partial(feed, make, recipe, workers), train_sam.loss, work / "sam.pt", device)
        if rank == 0:
            save_sam(mean.cpu(), work / "sam_tiny.safetensors")
        return
    sam = trained_sam(work)
    first = build_clip()
    net_clip = build_clip().to(device)
    net_clip.load_state_dict(first.state_dict())
    make = partial(clip_batch, bank, sam, share, rank, world)
    mean_clip = train(net_clip, recipe, partial(feed, make, recipe, workers), train_clip.loss, work / "clip.pt", device)
    if rank == 0:
        save_clip(mean_clip.cpu(), used_rows(first, mean_clip), work / "clip_tiny.safetensors")


def trained_sam(work: Path) -> Sam:
    """The SAM that the first stage wrote."""
    from salip_exp.models.embedded.files import read_sam

    sam = build_sam()
    sam.load_state_dict(read_sam(work / "sam_tiny.safetensors"))
    return sam


def used_rows(first: CLIP, trained: CLIP) -> torch.Tensor:
    """Vocabulary rows that training changed: the words that got a meaning."""
    changed = (first.token_embedding.weight != trained.token_embedding.weight).any(dim=1)
    return changed.nonzero().flatten().to(torch.int32)


def main() -> None:
    """Bank, SAM, CLIP, and the weights into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=user_cache_path("salip_exp") / "training", help="bank and checkpoints")
    parser.add_argument("--into", type=Path, default=PACKAGE, help="folder that gets the weights")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--sam-steps", type=int, default=SAM_RECIPE.steps)
    parser.add_argument("--clip-steps", type=int, default=CLIP_RECIPE.steps)
    parser.add_argument("--phantoms", type=int, default=100, help="size of the bank, in percent")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    processes = 1 if torch.cuda.is_available() else next(n for n in (4, 2, 1) if n <= cores)
    counts = {kind: max(1, count * given.phantoms // 100) for kind, count in COUNTS.items()}
    make_bank(given.work, counts, given.seed, cores)
    recipes = {"sam": replace(SAM_RECIPE, steps=given.sam_steps), "clip": replace(CLIP_RECIPE, steps=given.clip_steps)}
    for stage, recipe in recipes.items():
        run_on_cores(train_stage, processes, stage, given.work, recipe, counts, given.seed)
    for name in ("sam_tiny.safetensors", "clip_tiny.safetensors"):
        os.replace(given.work / name, given.into / name)
    write_sums(given.into)


if __name__ == "__main__":
    main()
