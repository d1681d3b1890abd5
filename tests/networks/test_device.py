"""Networks run where they are told to, or the user hears why not."""

from __future__ import annotations

import pytest
import torch

from salip_exp.config import Device
from salip_exp.errors import EnvironmentFault
from salip_exp.networks.device import pick_device


@pytest.mark.parametrize(
    ("device", "gpu", "expected"),
    [
        (Device.auto, True, "cuda"),
        (Device.auto, False, "cpu"),
        (Device.cpu, True, "cpu"),
        (Device.cpu, False, "cpu"),
        (Device.cuda, True, "cuda"),
    ],
)
def test_the_device_follows_the_key_and_the_machine(
    monkeypatch: pytest.MonkeyPatch, device: Device, gpu: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert pick_device(device).type == expected


def test_an_absent_gpu_is_the_environments_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentFault, match="device=cpu or device=auto") as fault:
        pick_device(Device.cuda)
    assert fault.value.exit_code == 6
