"""Networks run where they are told to, or the user hears why not."""

from __future__ import annotations

import pytest
import torch

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.errors import ConfigError, EnvironmentFault
from salip_exp.networks.device import pick_device


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("auto", 1, "cuda"),
        ("auto", 0, "cpu"),
        ("cpu", 1, "cpu"),
        ("cpu", 0, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:1", 2, "cuda:1"),
        ("mps", 0, "mps"),
    ],
)
def test_the_device_follows_the_key_and_the_machine(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, expected: str
) -> None:
    machine(monkeypatch, gpus, apple=True)
    assert str(pick_device(device)) == expected


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int, apple: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)


@pytest.mark.parametrize(
    ("device", "gpus", "seen"),
    [("cuda", 0, "no CUDA GPU"), ("cuda:2", 2, "2 CUDA GPUs"), ("mps", 1, "no GPU of Apple")],
)
def test_an_absent_gpu_is_the_environments_fault(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, seen: str
) -> None:
    machine(monkeypatch, gpus)
    with pytest.raises(EnvironmentFault, match=f"{seen}.*device=cpu or device=auto") as fault:
        pick_device(device)
    assert fault.value.exit_code == 6


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0"])
def test_what_is_no_device_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="is not understood: write auto, cpu, cuda"):
        typed(compose([f"device={device}"]))
