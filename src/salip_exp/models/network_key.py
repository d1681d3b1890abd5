"""What a network's answers depend on beside its input: two networks with one key give the same bits."""

from __future__ import annotations

from typing import Protocol

import torch

from salip_exp.caching.keys import content_key


class Loaded(Protocol):
    """A network with what tells its answers from those of others."""

    @property
    def sha256(self) -> str:
        """Of the file that the weights were read from."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    @property
    def arithmetic(self) -> str:
        """How it computes: precision, and whether it is compiled."""
        ...


def network_key(loaded: Loaded) -> str:
    """Key of weights, arithmetic, and the kind of machine.

    A CPU rounds by its vector instructions, and on one thread by other kernels than on several (how many does not
    matter: measured with 2, 4 and 8); a GPU rounds by its model.
    """
    if loaded.device.type == "cuda":
        machine = torch.cuda.get_device_name(loaded.device)
    else:
        threads = "one thread" if torch.get_num_threads() == 1 else "several threads"
        machine = f"{torch.backends.cpu.get_cpu_capability()}, {threads}"
    return content_key(loaded.sha256, loaded.arithmetic, loaded.device.type, machine, torch.__version__)
