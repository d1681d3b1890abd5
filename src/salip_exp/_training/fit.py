"""How far a training is, on disk: whole or not there, proven before it is read, and read without running any code."""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from salip_exp._console import progress
from salip_exp._files import TooLarge, atomic_write, read_file
from salip_exp._runs._process import Stop
from salip_exp._training.augment import augmentation
from salip_exp.config import Arithmetic, Config, EmptyTarget, Side, UnetConfig
from salip_exp.errors import ConfigError, EnvironmentFault, WeightsError
from salip_exp.evaluation.metrics import dice
from salip_exp.networks.unet import build_unet, standardised

_CHECKPOINT = 8 << 30  # bytes of the largest; that of the largest U-Net of the settings takes a tenth
DIGEST = 32  # bytes of SHA-256 in front of what `torch.save` wrote


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, in one step.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written; the checkpoint before is untouched.
    """
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getvalue()
    atomic_write(path, hashlib.sha256(content).digest() + content)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What was saved last; None where nothing was.

    Raises:
        WeightsError: the file is not what was written.
        EnvironmentFault: it cannot be read.
    """
    try:
        whole = read_file(path, _CHECKPOINT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read ({error.strerror}): get access to it") from error
    except TooLarge as error:
        raise WeightsError(f"{path} is no checkpoint of salip_exp ({error}): delete it, and train again") from error
    digest, content = whole[:DIGEST], whole[DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise WeightsError(f"{path} is damaged: delete it, and the same command trains from the start")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    return state


Row = dict[str, float]
Pair = tuple[Tensor, Tensor]

_WARMUP = 0.05  # share of the steps in which the rate rises
_DECAY = 0.01  # of weights
CLIP = 1.0  # largest norm of a gradient


@dataclass
class Progress:
    """A training at the end of an epoch.

    Attributes:
        net: the network that learns.
        mean: the moving average of its weights, which is what is validated and kept.
        history: a row per epoch: epoch, rate, train_loss, val_loss, val_dice, seconds.
        best: weights of the epoch with the highest validation Dice.
        best_epoch: its number, from 1; 0 before the first.
    """

    net: nn.Module
    mean: AveragedModel
    optimiser: torch.optim.Optimizer
    history: list[Row] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0

    def best_dice(self) -> float:
        """Highest validation Dice so far, -1 before the first epoch."""
        return self.history[self.best_epoch - 1]["val_dice"] if self.best_epoch else -1.0

    def is_over(self, config: UnetConfig) -> bool:
        """Whether the epochs are used up, or so many brought nothing that patience is."""
        return len(self.history) >= config.epochs or len(self.history) - self.best_epoch >= config.patience


OnEpoch = Callable[[Progress], None]


def rate_at(step: int, steps: int, warmup: int, peak: float) -> float:
    """Learning rate of a step: it rises linearly for `warmup` steps to `peak`, then falls by a cosine to 1 % of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def fit(
    config: Config,
    train: Pair,
    val: Pair,
    checkpoint: Path,
    key: str,
    device: torch.device,
    stop: Stop,
    on_epoch: OnEpoch,
) -> Progress:
    """Train, from the checkpoint on where there is one, until it is over or a signal came; each epoch ends on disk.

    What an epoch does depends on the seed, its number and the weights before it alone, so a training that was killed
    ends in the weights of one that was not, on the same machine with as many threads.

    Args:
        train: images uint8 (N, 3, side, side) and targets bool (N, 1, side, side) to learn from.
        val: as many of them to choose the epoch by.
        key: of the training; a checkpoint of another one is refused.
        on_epoch: is called after every epoch, when it is on disk.

    Raises:
        ConfigError: the loss is no number any more.
        WeightsError: the checkpoint is damaged, or another training's.
    """
    state = _begin(config, device)
    _restore(state, checkpoint, key, device)
    steps = _Steps(config, train, device)
    with progress(config.unet.epochs, config.progress, "epoch") as report:
        for row in state.history:
            report(_status(row, state), new=False)
        while not state.is_over(config.unet) and stop.code is None:
            row = _epoch(config, state, steps, val, device)
            _save(state, checkpoint, key)
            on_epoch(state)
            report(_status(row, state))
    return state


def _begin(config: Config, device: torch.device) -> Progress:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = build_unet(config.unet.channels).to(device)
    keep = config.unet.average

    def towards(mean: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        done = int(updates)  # a young average forgets its random beginning sooner
        return mean.lerp(current, 1 - min(keep, (1 + done) / (10 + done)))

    mean = AveragedModel(net, avg_fn=towards)
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.unet.rate, weight_decay=_DECAY)
    if config.compile:
        net.compile()
    return Progress(net, mean, optimiser)


class _Steps:
    """The batches of any epoch, and the rate of any step."""

    def __init__(self, config: Config, train: Pair, device: torch.device) -> None:
        self.images, self.targets = train
        self.seed, self.batch, self.device = config.seed, config.unet.batch, device
        self.rounds = math.ceil(config.unet.epoch_images / len(self.images))
        self.size = max(len(self.images), config.unet.epoch_images)
        self.per_epoch = math.ceil(self.size / self.batch)
        self.total = self.per_epoch * config.unet.epochs
        self.peak = config.unet.rate
        self.augment = augmentation(config.unet.side, flip=config.dataset.side is Side.both)

    def of(self, epoch: int) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Rate, images and targets, in an order and with changes that seed and epoch decide."""
        rng = np.random.default_rng([self.seed, epoch])
        orders = [rng.permutation(len(self.images)) for _ in range(self.rounds)]
        seeds = rng.integers(0, 2**32, (self.rounds, len(self.images)), dtype=np.uint32)
        drawn = [(i, int(seeds[turn, i])) for turn, order in enumerate(orders) for i in order][: self.size]
        for step, start in enumerate(range(0, self.size, self.batch)):
            rows = drawn[start : start + self.batch]
            pairs = [self.augment(self.images[i] / 255, self.targets[i], seed) for i, seed in rows]
            images, targets = (torch.stack(each).to(self.device) for each in zip(*pairs, strict=True))
            rate = rate_at(epoch * self.per_epoch + step, self.total, math.ceil(_WARMUP * self.total), self.peak)
            yield rate, images, targets


def _epoch(config: Config, state: Progress, steps: _Steps, val: Pair, device: torch.device) -> Row:
    """One epoch, and what came of it; the best weights are kept."""
    start = time.perf_counter()
    losses, rate = [], 0.0
    state.net.train()
    for rate, images, targets in steps.of(len(state.history)):
        losses.append(_step(config, state, rate, images, targets))
    val_loss, val_dice = validate(config, state.mean.module, val, device)
    if not np.isfinite([*losses, val_loss]).all():
        raise ConfigError(
            f"the loss is no number any more in epoch {len(state.history) + 1}: lower unet.rate={config.unet.rate}"
        )
    row = {
        "epoch": len(state.history) + 1,
        "rate": rate,
        "train_loss": float(np.mean(losses)),
        "val_loss": val_loss,
        "val_dice": val_dice,
        "seconds": time.perf_counter() - start,
    }
    improved = val_dice > state.best_dice()
    state.history.append(row)
    if improved:
        state.best_epoch = len(state.history)
        state.best = {name: each.detach().clone() for name, each in state.mean.module.state_dict().items()}
    return row


def _step(config: Config, state: Progress, rate: float, images: Tensor, targets: Tensor) -> float:
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        loss = _loss(_logits(config, state.net, images), targets)
        state.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(state.net.parameters(), CLIP)
    state.optimiser.step()
    state.mean.update_parameters(state.net)
    return loss.item()


def _logits(config: Config, net: nn.Module, images: Tensor) -> Tensor:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=config.precision is Arithmetic.bf16):
        logits: Tensor = net(standardised(images)).float()
    return logits


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Soft Dice loss plus binary cross entropy (MONAI's DiceCELoss), each with weight 1."""
    from monai.losses import DiceCELoss

    loss: Tensor = DiceCELoss(sigmoid=True)(logits, targets)
    return loss


@torch.no_grad()
def validate(config: Config, net: nn.Module, pair: Pair, device: torch.device) -> tuple[float, float]:
    """Mean loss, and mean Dice over images, both at the input side; an empty target wants an empty mask."""
    net.eval()
    losses, scores = [], []
    for images, targets in zip(*(each.split(config.unet.batch) for each in pair), strict=True):
        logits = _logits(config, net, images.float().to(device))
        losses.append(_loss(logits, targets.float().to(device)).item() * len(images))
        for mask, target in zip((logits.cpu() > 0).numpy(), targets.numpy(), strict=True):
            scores.append(dice(mask, target, EmptyTarget.one))
    return float(np.sum(losses) / len(scores)), float(np.mean(scores))


def _status(row: Row, state: Progress) -> str:
    return f"validation Dice {row['val_dice']:.4f}, best {state.best_dice():.4f} in epoch {state.best_epoch}"


def _save(state: Progress, path: Path, key: str) -> None:
    content: dict[str, Any] = {
        "key": key,
        "net": state.net.state_dict(),
        "mean": state.mean.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "history": state.history,
        "best": state.best,
        "best_epoch": state.best_epoch,
    }
    save_checkpoint(path, content)


def _restore(state: Progress, path: Path, key: str, device: torch.device) -> None:
    content = read_checkpoint(path, device)
    if content is None:
        return
    if content["key"] != key:
        raise WeightsError(
            f"{path} is of a training with other settings or data: delete it, or train elsewhere by hydra.run.dir=DIR"
        )
    state.net.load_state_dict(content["net"])
    state.mean.load_state_dict(content["mean"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.history, state.best, state.best_epoch = content["history"], content["best"], content["best_epoch"]
