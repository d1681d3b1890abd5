"""The training loop that both embedded networks share: resumable, averaged, with a progress bar.

On a CPU each core runs a process of its own with one thread: small layers scale that way, and threads do not.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from tqdm import tqdm

from salip_exp._training.fit import rate_at

SHOWN_EVERY = 20
"""Steps between two readings of the loss for the progress bar."""

Batch = TypeVar("Batch", bound=tuple[Tensor, ...])
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: AdamW, linear warm-up, cosine decay, exponential moving average of the weights."""

    steps: int
    batch: int
    rate: float
    warmup: int = 300
    decay: float = 0.05
    average: float = 0.998
    save_every: int = 250


def train(
    net: Net,
    recipe: Recipe,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Net, Batch], Tensor],
    checkpoint: Path,
    device: torch.device,
) -> Net:
    """Train `net` and return the moving average of its weights.

    Args:
        batches: this process's share of the batches from a given step on; step i must be the same in every run.
        loss: mean loss of a batch; gradients are averaged over the processes of the default group, if there is one.
        checkpoint: written every `save_every` steps, whole or not at all; training goes on from it when it exists.
    """
    leader = not distributed.is_initialized() or distributed.get_rank() == 0
    state = torch.load(checkpoint, weights_only=True, map_location="cpu") if checkpoint.exists() else None
    start = int(state["step"]) if state else 0
    stream = batches(start)  # before the device is touched: processes that draw are forked cheaply only until then
    net.to(device)
    mean = copy.deepcopy(net).requires_grad_(False)
    fused = device.type == "cuda"
    optimiser = torch.optim.AdamW(_groups(net, recipe.decay), lr=recipe.rate, betas=(0.9, 0.98), fused=fused)
    if state:
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
    bar = tqdm(total=recipe.steps, initial=start, desc=checkpoint.stem, mininterval=5, disable=not leader)
    smooth = torch.zeros((), device=device)
    net.train()
    for step, batch in enumerate(stream, start):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, recipe.steps, recipe.warmup, recipe.rate)
        with torch.autocast(device.type, torch.bfloat16):
            value = loss(net, type(batch)(*(field.to(device, non_blocking=True) for field in batch)))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        _share_gradients(net)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        _average(mean, net, min(recipe.average, (step + 1) / (step + 10)))
        smooth.lerp_(value.detach().float(), 0.02 if step > start else 1.0)
        if step % SHOWN_EVERY == 0:  # reading a number waits for the device
            bar.set_postfix(loss=f"{smooth.item():.4f}", refresh=False)
        bar.update()
        if leader and ((step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps):
            _save(checkpoint, net, mean, optimiser, step + 1)
    bar.close()
    return mean.eval()


def _share_gradients(net: nn.Module) -> None:
    """Average gradients over the processes, in one message."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in net.parameters() if p.requires_grad]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _groups(net: nn.Module, decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, and not for embeddings: a row that was never used keeps its first value."""
    embeddings = {m.weight for m in net.modules() if isinstance(m, nn.Embedding)}
    trained = [p for p in net.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2 and p not in embeddings]
    others = [p for p in trained if p.ndim < 2 or p in embeddings]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def _average(mean: nn.Module, net: nn.Module, keep: float) -> None:
    torch._foreach_lerp_(list(mean.parameters()), list(net.parameters()), 1 - keep)


def _save(path: Path, net: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    state = {"net": net.state_dict(), "mean": mean.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)
