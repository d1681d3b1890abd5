"""SAM on a GPU: the reference generator, the package exactly, and the package in bfloat16 and compiled.

    python benchmarks/gpu.py                       # ViT-H with random weights, 256 and 1024 pixels, grid 16 and 32
    python benchmarks/gpu.py --sam vit_b --sides 256 --grids 16 --no-compile

Weights are random, with blobs for masks (`blobs`), so that what follows the decoder has its work. Every contestant
segments everything and then decodes the box of the largest candidate; the reference encodes the image again for that.
Exact results on a GPU need not be the reference's to the last bit, so differences are counted and not refused.
Rows go to benchmarks/results/gpu-<weights>.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from arithmetic import best_ious
from contestant import method
from networks import VARIANTS, Networks, sam_of
from numpy.typing import NDArray
from pictures import cases_of, configured
from reference import published
from rows import Results, Row, device_name
from torch.utils.flop_counter import FlopCounterMode

from salip_exp.cache.store import NoStore
from salip_exp.cascade.pool import Masks, mask_iou, pack
from salip_exp.config import Arithmetic, Config
from salip_exp.data.case import Case
from salip_exp.networks.device import sped_up

PEAK = {  # dense arithmetic of the processor's data sheet, 10^12 per second: float32 without tensor cores, bfloat16
    "H200": (67, 989),
    "H100": (67, 989),
    "A100": (19.5, 312),
    "L40S": (91.6, 362),
    "RTX 4090": (82.6, 165),
    "RTX 3090": (35.6, 71),
}
REPEATS = 5
Found = tuple[Masks, NDArray[np.bool_]]


def main() -> None:
    """Measure on the GPU, or say that there is none."""
    args = arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here: nothing is measured")
    device = torch.device(args.device)
    results = Results(args.results / f"gpu-{args.sam}.csv")
    name = device_name(device)
    contestants = networks(args.sam, device, compiled=not args.no_compile)
    for row in encoder(args.sam, contestants, name):
        results.add(row)
    for side in args.sides:
        for grid in args.grids:
            for row in generators(args.sam, contestants, side, grid, name):
                results.add(row)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", default="vit_h", choices=VARIANTS)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--grids", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--no-compile", action="store_true", help="bfloat16 alone")
    parser.add_argument("--device", default="cuda", help="cpu: to see that the script works")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"), help="folder of the CSV")
    return parser.parse_args()


def networks(variant: str, device: torch.device, compiled: bool) -> dict[str, Networks]:
    """The same weights twice: exact, and computing in bfloat16."""
    exact, faster = sam_of(variant, device), sped_up(sam_of(variant, device), Arithmetic.bf16, compiled)
    return {"exact": Networks(exact, None), f"bf16{', compiled' if compiled else ''}": Networks(faster, None)}


@torch.no_grad()
def encoder(variant: str, contestants: dict[str, Networks], name: str) -> Iterator[Row]:
    """The image encoder alone: milliseconds, and its share of the arithmetic that the processor can do."""
    device = contestants["exact"].sam.device
    side = contestants["exact"].sam.net.image_encoder.img_size
    pixels = torch.randn(1, 3, side, side, device=device)
    with FlopCounterMode(display=False) as flops:
        contestants["exact"].sam.net.image_encoder(pixels)
    for kind, each in contestants.items():
        seconds = timed(partial(each.sam.net.image_encoder, pixels), device)
        rate = flops.get_total_flops() / median(seconds) / 1e12
        peak = next((peaks[kind != "exact"] for gpu, peaks in PEAK.items() if gpu in name), None)
        share = {"ratio": rate / peak, "ratio_of": f"of {peak} TFLOP/s"} if peak else {}
        yield row(variant, side, f"encoder, {kind}", "salip_exp", seconds, name, work=f"{rate:.1f} TFLOP/s", **share)


def generators(variant: str, contestants: dict[str, Networks], side: int, grid: int, name: str) -> Iterator[Row]:
    """Milliseconds per image, and what differs from the reference."""
    overrides = [f"dataset.resize.side={side}", "dataset.resize.mode=squash", f"sam.points_per_side={grid}"]
    thresholds = ["sam.pred_iou_thresh=0.5", "sam.stability_score_thresh=0.5"]
    config = configured("dataset=phantom_hc18", "sam=vit_h", *overrides, *thresholds)
    case = cases_of(config, 1)[0]
    exact = contestants["exact"]
    device = exact.sam.device
    theirs = reference(exact, config, case)
    slow = timed(partial(reference, exact, config, case), device)
    setting = f"grid {grid}x{grid}"
    yield row(variant, side, setting, "reference", slow, name, work=f"{len(theirs[0])} masks")
    for kind, each in contestants.items():
        found = ours(each, config, case)
        seconds = timed(partial(ours, each, config, case), device)
        gain = {"ratio": median(slow) / median(seconds), "ratio_of": "reference / salip_exp"}
        told = difference(theirs, found)
        yield row(variant, side, f"{setting}, {kind}", "salip_exp", seconds, name, work=told, **gain)


def reference(networks: Networks, config: Config, case: Case) -> Found:
    """Pool and final mask of the public packages."""
    found = published(networks.sam.net, None, None, case.image, config)
    masks = np.stack([record["segmentation"] for record in found.records])
    return pack(masks), found.mask


def ours(networks: Networks, config: Config, case: Case) -> Found:
    """Pool and final mask of the package, nothing kept."""
    prediction = method(config, networks, NoStore()).predict(case)
    assert prediction.pool is not None
    return prediction.pool.masks, prediction.mask


def difference(theirs: Found, found: Found) -> str:
    """How a pool and a final mask differ from the reference's."""
    paired = best_ious(theirs[0], found[0]).mean()
    iou = mask_iou(theirs[1], found[1])
    return f"{len(found[0])} masks, IoU {paired:.4f}, final DSC {2 * iou / (1 + iou):.4f} with the reference's"


def timed(work: Callable[[], Any], device: torch.device) -> list[float]:
    """Seconds of repeats, after two that are not counted (the first compiles)."""
    seconds = []
    for number in range(REPEATS + 2):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        if number > 1:
            seconds.append(time.perf_counter() - start)
    return seconds


def wait(device: torch.device) -> None:
    """Until the GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def row(variant: str, side: int, setting: str, who: str, seconds: list[float], name: str, **more: Any) -> Row:
    """A row in milliseconds."""
    value, minimum = 1e3 * median(seconds), 1e3 * min(seconds)
    place = {"side": side, "setting": setting, "who": who, "threads": torch.get_num_threads(), "processor": name}
    return Row("gpu", variant, value=value, minimum=minimum, unit="ms", n=len(seconds), **place, **more)


if __name__ == "__main__":
    main()
