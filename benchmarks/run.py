"""Speed and memory beside the public packages: results are compared bit for bit first, and only then timed.

    python benchmarks/run.py --quick                  # a little of everything with the embedded weights: minutes
    python benchmarks/run.py                          # the whole of it with the embedded weights
    python benchmarks/run.py --weights vit_b          # SAM ViT-B with random weights, without CLIP
    python benchmarks/run.py --weights vit_b+vit_l_14 --only sweep
    python benchmarks/run.py --only one_image memory --threads 1

Rows go to benchmarks/results/<weights>.csv as they are known. `make bench ARGS=...` does the same.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import allocator
import arithmetic
import memory
import one_image
import study
import sweep
from networks import STAND_IN, WEIGHTS
from plan import FULL, QUICK, Plan
from processes import Conditions
from rows import Results, Row

Benchmark = Callable[[Plan, Conditions], Iterator[Row]]

BENCHMARKS: Mapping[str, Benchmark] = {
    "one_image": one_image.benchmark,
    "memory": memory.benchmark,
    "allocator": allocator.benchmark,
    "sweep": sweep.benchmark,
    "study": study.benchmark,
    "arithmetic": arithmetic.benchmark,
}
EMBEDDED_ONLY = ("study", "arithmetic")
WITHOUT_CLIP = ("one_image", "memory", "allocator")
"""Measured with SAM alone: for `vit_b+vit_l_14` they would repeat those of `vit_b`."""
BOTH_ALLOCATORS = ("one_image", "memory")


def main() -> None:
    """Run what the command line asks for."""
    args = arguments()
    for weights in args.weights:
        plan = planned(args, weights)
        results = Results(args.results / f"{weights}{'-quick' if args.quick else ''}.csv")
        print(f"\n{weights}{'' if weights == 'tiny' else f' ({STAND_IN})'}, threads={args.threads}: {results.path}")
        for name in chosen(weights, args.only):
            for conditions in all_conditions(name, args.threads, args.allocator):
                for row in BENCHMARKS[name](plan, conditions):
                    results.add(row)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", default=["tiny"], choices=WEIGHTS, help="tiny: the embedded ones")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, help="these benchmarks; default: all")
    parser.add_argument("--quick", action="store_true", help="few repeats, trials and points")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch and OpenCV")
    parser.add_argument("--allocator", choices=["default", "kept", "both"], help="default: what each benchmark is for")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"), help="folder of the CSV")
    sizes = parser.add_argument_group("sizes, in place of the plan's")
    for name in ("repeats", "points", "images", "trials", "per-grid", "cases", "studies", "run-cases"):
        sizes.add_argument(f"--{name}", type=int)
    sizes.add_argument("--grids", type=int, nargs="+")
    return parser.parse_args()


def planned(args: argparse.Namespace, weights: str) -> Plan:
    """The plan with what the command line changes."""
    plan = (QUICK if args.quick else FULL)[weights]
    names = ("repeats", "points", "images", "trials", "per_grid", "cases", "studies", "run_cases", "grids")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return replace(plan, **given)


def chosen(weights: str, only: list[str] | None) -> list[str]:
    """Names of the benchmarks that say something about these weights, of those asked for."""
    names = [name for name in BENCHMARKS if only is None or name in only]
    if weights != "tiny":
        names = [name for name in names if name not in EMBEDDED_ONLY]
    return [name for name in names if "+" not in weights or name not in WITHOUT_CLIP]


def all_conditions(name: str, threads: int, asked: str | None) -> list[Conditions]:
    """What a benchmark is run under, one after the other."""
    if asked is None:
        asked = "both" if name in BOTH_ALLOCATORS else "kept"
    return [Conditions(threads, each) for each in (("default", "kept") if asked == "both" else (asked,))]


if __name__ == "__main__":
    main()
