"""Segment-everything mode beside the reference: equal records first, then seconds and peak memory of each.

    python benchmarks/everything.py
    python benchmarks/everything.py --side 512 --points 32 --layers 1
    python benchmarks/everything.py --sam random

Random weights give speckle, which makes the reference's run-length coding slower than real masks do.
"""

from __future__ import annotations

import argparse
import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from salip_exp.cascade.everything import MaskGenerator
from salip_exp.config import SamConfig
from salip_exp.models.embedded.architecture import build_sam
from salip_exp.models.packages import Sam, segment_anything
from salip_exp.models.sam import load_sam

Generate = Callable[[], list[dict[str, Any]]]
STATM = Path("/proc/self/statm")


def main() -> None:
    """Compare both generators on one image and print a line for each."""
    args = arguments()
    torch.set_num_threads(args.threads)
    net = network(args.sam)
    settings = {"points_per_side": args.points, "crop_n_layers": args.layers, "min_mask_region_area": args.min_area}
    # Random weights pass no quality threshold.
    settings |= {"pred_iou_thresh": 0.0 if args.sam == "random" else args.quality}
    settings |= {"stability_score_thresh": settings["pred_iou_thresh"], "box_nms_thresh": 0.9}
    image = picture(args.side)
    contestants: dict[str, Generate] = {
        "reference": lambda: segment_anything.SamAutomaticMaskGenerator(net, **settings).generate(image),
        "salip_exp": lambda: MaskGenerator(net, **settings).generate(image),
    }
    records = {name: generate() for name, generate in contestants.items()}
    require_equal(records["salip_exp"], records["reference"])
    print(f"sam={args.sam} image={args.side}x{args.side} {settings} threads={args.threads} torch={torch.__version__}")
    print(f"equal: {len(records['reference'])} masks, bit for bit, in the same order")
    for name, generate in contestants.items():
        seconds, memory = measure(generate, args.repeats)
        print(f"{name:10} {seconds:8.2f} s  {memory} above the models")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", default="tiny", help="tiny, vit_b, ..., or random: tiny with random weights")
    parser.add_argument("--side", type=int, default=256, help="side of the square image in pixels")
    parser.add_argument("--points", type=int, default=16, help="points per side of the grid")
    parser.add_argument("--layers", type=int, default=0, help="crop layers")
    parser.add_argument("--quality", type=float, default=0.5, help="predicted IoU and stability that masks must have")
    parser.add_argument("--min-area", type=int, default=0, help="min_mask_region_area")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="torch threads")
    return parser.parse_args()


def network(name: str) -> Sam:
    """The tiny SAM with seeded random weights, or a registered one."""
    if name == "random":
        torch.manual_seed(0)
        return build_sam()
    return load_sam(SamConfig(name=name), torch.device("cpu"), download=False).net


def picture(side: int) -> NDArray[np.uint8]:
    """Seeded discs of different brightness on noise, uint8 (side, side, 3)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    grey = rng.normal(40, 8, (side, side))
    for _ in range(12):
        cx, cy, radius, level = rng.uniform([0, 0, 0.03, 60], [1, 1, 0.25, 240])
        grey = np.where((x - cx) ** 2 + (y - cy) ** 2 < radius**2, level, grey)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def require_equal(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Stop where any record differs in any value."""
    assert len(ours) == len(theirs), f"{len(ours)} masks, the reference has {len(theirs)}"
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in other.items():
            np.testing.assert_array_equal(mine[name], value, err_msg=name)


def measure(generate: Generate, repeats: int) -> tuple[float, str]:
    """Seconds of the fastest run, and the greatest growth of resident memory in any (Linux only)."""
    seconds, growth = [], []
    for _ in range(repeats):
        gc.collect()
        with PeakMemory() as memory:
            start = time.perf_counter()
            generate()
            seconds.append(time.perf_counter() - start)
        growth.append(memory.growth)
    return min(seconds), f"{max(growth) / 2**20:7.0f} MiB" if STATM.exists() else "unknown"


class PeakMemory:
    """Samples the process's resident memory every two milliseconds inside the `with` block."""

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = self._resident()
        self.done = threading.Event()
        self.sampler = threading.Thread(target=self._sample)
        self.sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.sampler.join()

    @property
    def growth(self) -> int:
        """Bytes of the peak above the start."""
        return self.peak - self.start

    def _sample(self) -> None:
        while not self.done.wait(0.002):
            self.peak = max(self.peak, self._resident())

    @staticmethod
    def _resident() -> int:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0


if __name__ == "__main__":
    main()
