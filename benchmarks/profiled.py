"""Where the time of segment-everything mode goes: stages, kernels, and how often the processor waits for the device.

    python benchmarks/profiled.py                                  # ViT-H on a GPU, 1024 pixels, 32 x 32 points
    python benchmarks/profiled.py --device cpu --sam tiny --side 256 --grid 16

Weights of the official sizes are random, with blobs for masks (`blobs`). One image is segmented with nothing kept, once
to warm up and once under torch.profiler. Prints a table, writes it to results/profile-<device>-<sam>.csv, and the trace
for chrome://tracing to --trace. A stage's time on a GPU is that of the kernels it started; the last rows are copies and
waits.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from contestant import method
from gpu import wait
from networks import VARIANTS, Networks, sam_of
from pictures import cases_of, configured
from rows import device_name
from torch.profiler import ProfilerActivity, profile, record_function

from salip_exp.cache.store import NoStore
from salip_exp.cascade import cached_sam, candidates
from salip_exp.config import Arithmetic
from salip_exp.networks.device import sped_up

STAGES = {
    "encode": (cached_sam, "embed_crops"),
    "decode": (candidates, "_decode_points"),
    "upscale": (candidates, "upscale_rows"),
    "stability": (candidates, "_stability_of"),
    "pack": (candidates, "hold"),
    "fetch": (candidates, "release"),
    "join": (cached_sam, "joined"),
    "select and clean": (cached_sam, "select"),
    "box": (cached_sam, "segment_box"),
}
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpyAsync")


def main() -> None:
    """One image, profiled."""
    args = arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here: nothing is measured")
    device = torch.device(args.device)
    name_stages()
    sam = sped_up(sam_of(args.sam, device), args.precision, args.compile)
    overrides = [f"dataset.resize.side={args.side}", "dataset.resize.mode=squash", f"sam.points_per_side={args.grid}"]
    config = configured("dataset=phantom_hc18", *overrides, f"sam.points_per_batch={args.points}", *args.more)
    case = cases_of(config, 1)[0]
    method(config, Networks(sam, None), NoStore()).predict(case)
    wait(device)
    with profile(activities=activities(device), profile_memory=True) as profiled:
        start = time.perf_counter()
        method(config, Networks(sam, None), NoStore()).predict(case)
        wait(device)
        seconds = time.perf_counter() - start
    table = stages(profiled)
    print(
        f"{sam.name}, {args.side} pixels, {args.grid} x {args.grid} points, {sam.arithmetic}: {1e3 * seconds:,.0f} ms"
    )
    print(f"torch {torch.__version__} on {device_name(device)}, {torch.get_num_threads()} threads\n")
    write(args.results / f"profile-{device.type}-{args.sam}.csv", table)
    by = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(profiled.key_averages().table(sort_by=by, row_limit=args.rows, max_name_column_width=60))
    if args.trace:
        profiled.export_chrome_trace(str(args.trace))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", default="vit_h", choices=VARIANTS)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--grid", type=int, default=32)
    parser.add_argument("--points", type=int, default=256, help="decoded in one batch")
    parser.add_argument("--precision", type=Arithmetic, default=Arithmetic.fp32, choices=list(Arithmetic))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=25, help="of kernels, printed")
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"), help="folder of the CSV")
    parser.add_argument("more", nargs="*", help="keys of the configuration, as KEY=VALUE")
    return parser.parse_args()


def name_stages() -> None:
    """Have every stage's function say when it runs."""
    for stage, (module, name) in STAGES.items():
        setattr(module, name, named(stage, getattr(module, name)))


def named(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, seen by the profiler."""

    @wraps(work)
    def seen(*args: Any, **kwargs: Any) -> Any:
        with record_function(f"stage: {stage}"):
            return work(*args, **kwargs)

    return seen


def activities(device: torch.device) -> list[ProfilerActivity]:
    """What is profiled."""
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]


def stages(profiled: profile) -> list[dict[str, Any]]:
    """A row for each stage, calls and milliseconds of processor and device; then one for each kind of wait."""
    events = {event.key: event for event in profiled.key_averages()}
    rows = []
    for stage in STAGES:
        event = events.get(f"stage: {stage}")
        if event is not None:
            rows.append(row(stage, event.count, event.cpu_time_total, getattr(event, "device_time_total", 0)))
    for name in WAITS:
        if name in events:
            rows.append(row(name, events[name].count, events[name].cpu_time_total, 0))
    return rows


def row(stage: str, calls: int, cpu_us: float, device_us: float) -> dict[str, Any]:
    """In milliseconds."""
    return {
        "stage": stage,
        "calls": calls,
        "processor_ms": round(cpu_us / 1e3, 2),
        "device_ms": round(device_us / 1e3, 2),
    }


def write(path: Path, table: list[dict[str, Any]]) -> None:
    """To a file and to the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    for each in table:
        stage, calls, processor, on_device = each.values()
        print(f"{stage:<24} {calls:>6} calls {processor:>10,.1f} ms {on_device:>10,.1f} ms on the device")
    print()


if __name__ == "__main__":
    main()
