"""What `running.process.keep_freed_memory` saves: SAM's two halves with glibc's own settings, and with memory kept.

python benchmarks/run.py --only allocator
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from clock import Times, in_turn
from networks import load
from plan import Plan
from processes import Answer, Conditions, fresh
from rows import Row

from salip_exp.cascade.candidates import Sampling, candidates
from salip_exp.cascade.embedding import embed
from salip_exp.cascade.everything import point_grids
from salip_exp.cascade.work import Counters
from salip_exp.networks.packages import Sam

ROUNDS = 3
"""Processes with each setting, in turn: the settings hold for a process's whole life."""
WORK = ("encoder forward", "decoder forward of 64 points, reference", "table of 64 points, salip_exp")


def benchmark(plan: Plan, conditions: Conditions) -> Iterator[Row]:
    """Seconds of each part under both settings, whatever setting was asked for."""
    times: dict[tuple[str, str], Times] = {}
    for _ in range(ROUNDS if plan.repeats > 1 else 1):
        for setting in ("default", "kept"):
            for answer in fresh(
                replace(conditions, allocator=setting), measure, weights=plan.weights, repeats=plan.repeats
            ):
                each = times.setdefault((answer["work"], setting), Times())
                each.wall.extend(answer["wall"])
                each.cpu.extend(answer["cpu"])
    for work in WORK:
        figures = {setting: times[work, setting].figures() for setting in ("default", "kept")}
        gain = figures["default"]["value"] / figures["kept"]["value"]
        gain_cpu = figures["default"]["cpu"] / figures["kept"]["cpu"]
        for setting, columns in figures.items():
            ratio = {"ratio": gain, "ratio_of": f"default / kept, of cpu {gain_cpu:.2f}"} if setting == "kept" else {}
            who = "reference" if "reference" in work else "salip_exp"
            place = {"side": 256, "threads": conditions.threads, "allocator": setting}
            yield Row("allocator", plan.weights, setting=work, who=who, unit="s", **place, **columns, **ratio)


@torch.no_grad()
def measure(weights: str, repeats: int) -> Iterator[Answer]:
    """Seconds of each part in this process, after one run of each that is not timed."""
    net = load(weights).sam.net
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    embedding = embed(net, image, Counters())[0]
    sampling = Sampling(point_grids(8, 0, 1), 64, 1.0)
    contestants = {
        WORK[0]: lambda: embed(net, image, Counters()),
        WORK[1]: lambda: decode(net, embedding.features, sampling.grids[0]),
        WORK[2]: lambda: candidates(net, embedding, sampling, Counters()),
    }
    in_turn(contestants, 1)
    for work, times in in_turn(contestants, repeats).items():
        yield {"work": work, "wall": times.wall, "cpu": times.cpu}


def decode(net: Sam, features: torch.Tensor, points: np.ndarray) -> None:
    """The reference's decoder on a grid, in one batch."""
    coords = torch.as_tensor(points[:, None] * net.image_encoder.img_size, dtype=torch.float)
    sparse, dense = net.prompt_encoder((coords, torch.ones(coords.shape[:2])), None, None)
    position = net.prompt_encoder.get_dense_pe()
    net.mask_decoder(features, position, sparse, dense, multimask_output=True)
