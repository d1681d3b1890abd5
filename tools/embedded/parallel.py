"""One process a core, joined by gloo: how the training loop uses a CPU."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import cv2
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn


def run_on_cores(function: Callable[..., Any], processes: int, *arguments: Any) -> None:
    """Call `function(rank, processes, *arguments)` in `processes` single-threaded processes and wait for them.

    A process that fails ends the others and raises here.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the children when they import torch
    spawn(_member, args=(processes, port, function, arguments), nprocs=processes)


def _member(rank: int, processes: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=processes)
    try:
        function(rank, processes, *arguments)
    finally:
        distributed.destroy_process_group()
