"""Settings of the whole process that make networks faster on a CPU and change no bit of what they compute."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of glibc's `mallopt`, from malloc.h."""
PAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next layer, instead of giving it back and asking for fresh pages.

    Every large tensor is otherwise mapped anew and its pages faulted in one by one, which costs up to a half of a
    forward on a CPU, the more the larger its tensors (`benchmarks/allocator.py`).

    Returns:
        Whether the allocator is glibc's and took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no such function
        return False
    return all(mallopt(name, value) for name, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, PAD)))


def use_threads(count: int | None) -> None:
    """Let torch and OpenCV compute on so many threads; None leaves it to them (as many as there are cores)."""
    import cv2
    import torch

    if count is not None:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)
