"""Settings of the process change no result, and are taken where the system has them."""

from __future__ import annotations

import subprocess
import sys

import cv2
import pytest
import torch

from salip_exp._runs._process import keep_freed_memory
from salip_exp.networks.device import use_threads

PAGE_FAULTS = """
import resource, torch
from salip_exp.networks.device import use_threads
from salip_exp._runs._process import keep_freed_memory
kept = {keep} and keep_freed_memory()
torch.set_num_threads(1)
total = 0.0
for _ in range(6):
    torch.ones(8 << 20).add_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    total += torch.ones(8 << 20).add_(1).sum().item()
print(kept, total, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.ci
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_freed_memory_is_used_again_without_new_page_faults():
    def run(keep: bool) -> tuple[str, float, int]:
        script = PAGE_FAULTS.format(keep=keep)
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
        return out[0], float(out[1]), int(out[2])

    kept, total, faults = run(keep=True)
    if kept != "True":
        pytest.skip("this libc has no mallopt")
    _, same, many = run(keep=False)
    assert total == same
    assert faults < many / 2


def test_elsewhere_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


def test_threads_are_set_only_when_asked_for():
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        use_threads(None)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == before
        use_threads(1)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
