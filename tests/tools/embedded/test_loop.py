"""The training loop: resumable to the bit, averaged, honest about its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tools.embedded.loop import Recipe, train

RECIPE = Recipe(steps=6, batch=4, rate=1e-2, warmup=2, save_every=3)


class Batch(NamedTuple):
    x: Tensor
    y: Tensor


class Stop(Exception):
    pass


def batches(start: int, stop: int = RECIPE.steps, fail_at: int | None = None) -> Iterator[Batch]:
    for step in range(start, stop):
        if step == fail_at:
            raise Stop
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(4, 3, generator=generator)
        yield Batch(x, x.sum(1, keepdim=True))


def loss(net: nn.Module, batch: Batch) -> Tensor:
    return ((net(batch.x).float() - batch.y) ** 2).mean()


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    whole = train(linear(), RECIPE, batches, loss, tmp_path / "whole.pt", cpu)
    with pytest.raises(Stop):
        train(linear(), RECIPE, lambda start: batches(start, fail_at=4), loss, tmp_path / "cut.pt", cpu)
    resumed = train(linear(), RECIPE, batches, loss, tmp_path / "cut.pt", cpu)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=150)
    net = train(linear(), recipe, lambda start: batches(start, 150), loss, tmp_path / "net.pt", torch.device("cpu"))
    fresh = next(iter(batches(1000, 1001)))
    assert loss(net, fresh) < 0.5 * loss(linear(), fresh)


def test_rows_of_words_never_used_keep_their_first_value(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(4, 1))
    first = net[0].weight.detach().clone()  # type: ignore[union-attr]

    def words(start: int) -> Iterator[Batch]:
        yield from (Batch(torch.tensor([[1, 3]]), torch.ones(1, 1)) for _ in range(start, RECIPE.steps))

    trained = train(net, RECIPE, words, loss, tmp_path / "net.pt", torch.device("cpu"))
    changed = (trained[0].weight != first).any(1)  # type: ignore[union-attr]
    assert changed.tolist() == [False, True, False, True, False]
