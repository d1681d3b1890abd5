"""Epochs: what is kept, when it ends, and that a training that was stopped ends in the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from salip_exp._runs._process import Stop
from salip_exp._runs.lab import Lab
from salip_exp._training import fit as module
from salip_exp._training.data import read_training_data
from salip_exp._training.fit import fit, rate_at
from salip_exp.config import Arithmetic
from salip_exp.errors import ConfigError, WeightsError

CPU = torch.device("cpu")
PROGRAM = Path(__file__).with_name("stubs.py")


class Killed(BaseException):
    """Stands for the end of a process."""


@pytest.fixture
def trained(stubs, discs, tmp_path):
    """A function that trains on the discs, with a checkpoint in the test's folder."""

    def run(name: str = "c.pt", on_epoch=lambda state: None, stop: Stop | None = None, key: str = "key", **changes):
        torch.set_num_threads(1)
        config = stubs.config(discs, **changes)
        data = read_training_data(config, Lab())
        parts = data.examples.part(data.split.train), data.examples.part(data.split.val)
        return fit(config, *parts, tmp_path / name, key, CPU, stop or Stop(), on_epoch)

    return run


def assert_same(one, other) -> None:
    for name in ("best", "last"):
        mine, theirs = ((each.best if name == "best" else each.net.state_dict()) for each in (one, other))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    untimed = [[{**row, "seconds": 0} for row in each.history] for each in (one, other)]
    assert untimed[0] == untimed[1]


@pytest.mark.ci
def test_it_learns(trained) -> None:
    state = trained(epochs=40, patience=40)
    assert state.history[-1]["train_loss"] < 0.7 * state.history[0]["train_loss"]
    assert state.best_dice() > 0.85
    assert state.best_dice() == max(row["val_dice"] for row in state.history)


def test_every_epoch_has_a_row_and_the_rate_rises_and_falls(trained) -> None:
    state = trained(epochs=10)
    assert [row["epoch"] for row in state.history] == list(range(1, 11))
    rates = [row["rate"] for row in state.history]
    assert max(rates) == pytest.approx(0.01, rel=0.1)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 0.001


def test_the_rate_rises_to_its_peak_and_falls_to_a_hundredth() -> None:
    rates = [rate_at(step, 60, 20, 0.5) for step in range(60)]
    assert rates[:2] == [0.025, 0.05]
    assert rates[19] == rates[20] == max(rates) == 0.5
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0.005, rel=0.2)


def test_a_small_training_part_is_gone_through_several_times_in_an_epoch(trained, monkeypatch) -> None:
    sizes = []
    real = module._step
    monkeypatch.setattr(module, "_step", lambda *a: sizes.append(len(a[3])) or real(*a))
    trained("once.pt", epochs=1)
    once, sizes[:] = list(sizes), []
    trained("often.pt", epochs=1, epoch_images=30)
    assert 4 < sum(once) < 16
    assert sizes == [4] * 7 + [2]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(trained) -> None:
    one, same, other = trained("a.pt"), trained("b.pt"), trained("c.pt", seed=99)
    assert_same(one, same)
    assert any(not torch.equal(one.best[key], other.best[key]) for key in one.best)


@pytest.mark.parametrize("at", [1, 2])
def test_stopped_and_continued_it_ends_in_the_same_weights(trained, at) -> None:
    def on_epoch(state) -> None:
        if len(state.history) == at:
            raise Killed

    with pytest.raises(Killed):
        trained("killed.pt", on_epoch)
    epochs = []
    continued = trained("killed.pt", lambda state: epochs.append(len(state.history)))
    assert epochs == list(range(at + 1, 4))
    assert_same(continued, trained("whole.pt"))


def test_a_signal_lets_the_epoch_finish(trained) -> None:
    stop = Stop()
    state = trained(stop=stop, on_epoch=lambda state: stop(signal.SIGTERM, None))
    assert (len(state.history), stop.code) == (1, 143)
    assert len(trained().history) == 3


def test_training_stops_when_validation_is_no_longer_better(trained, monkeypatch) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    monkeypatch.setattr(module, "validate", lambda *_: (1.0, next(scores)))
    state = trained(epochs=50, patience=3)
    assert [row["val_dice"] for row in state.history] == [0.5, 0.7, 0.6, 0.7, 0.65]
    assert (state.best_epoch, state.best_dice()) == (2, 0.7)


def test_the_weights_of_the_best_epoch_are_kept(trained, monkeypatch) -> None:
    scores = iter([0.7, 0.9, 0.6])
    monkeypatch.setattr(module, "validate", lambda *_: (1.0, next(scores)))
    seen = []
    state = trained(
        on_epoch=lambda state: seen.append({k: v.clone() for k, v in state.mean.module.state_dict().items()})
    )
    assert all(torch.equal(state.best[key], seen[1][key]) for key in state.best)
    assert any(not torch.equal(state.best[key], seen[2][key]) for key in state.best)


def test_a_checkpoint_of_another_training_is_refused(trained) -> None:
    trained(epochs=1)
    with pytest.raises(WeightsError, match=r"other settings or data: delete it, or train elsewhere by hydra\.run\.dir"):
        trained(key="another")


def test_a_loss_that_is_no_number_ends_it_with_what_to_do(trained, monkeypatch) -> None:
    monkeypatch.setattr(module, "_step", lambda *_: float("nan"))
    with pytest.raises(ConfigError, match=r"no number any more in epoch 1: lower unet.rate=0.01"):
        trained()


def test_bfloat16_computes_nearly_the_same(trained) -> None:
    exact, rounded = trained("exact.pt"), trained("rounded.pt", precision=Arithmetic.bf16)
    assert rounded.history[0]["train_loss"] != exact.history[0]["train_loss"]
    assert rounded.history[0]["train_loss"] == pytest.approx(exact.history[0]["train_loss"], rel=0.05)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_is_continued_by_another_to_the_same_file(discs, tmp_path) -> None:
    def program(folder: Path, kill_in_step: int) -> int:
        command = [sys.executable, "-W", "ignore", str(PROGRAM), str(discs), str(folder), str(kill_in_step)]
        return subprocess.run(command, timeout=600, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert program(whole, 0) == 0
    assert program(broken, 5) == -signal.SIGKILL  # in the second epoch
    assert not (broken / "unet.safetensors").exists()
    assert program(broken, 1) == -signal.SIGKILL
    assert program(broken, 0) == 0
    assert (broken / "unet.safetensors").read_bytes() == (whole / "unet.safetensors").read_bytes()
