"""What faster arithmetic changes: bfloat16, and torch.compile, against exact float32, with the embedded weights.

Masks are paired by their greatest IoU, from the exact pool to the faster one. The final masks are scored against the
phantom's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

import numpy as np
from clock import Times
from contestant import method
from networks import Networks, load
from pictures import SETS, cases_of, configured
from plan import Plan
from processes import Answer, Conditions, fresh
from rows import Row

from salip_exp.cache.store import NoStore
from salip_exp.cascade.pool import Masks, mask_iou
from salip_exp.config import Arithmetic, Config
from salip_exp.data.case import Case
from salip_exp.evaluation.metrics import overlap
from salip_exp.methods.base import Prediction
from salip_exp.networks.device import arithmetic_of, sped_up

FASTER = ((Arithmetic.bf16, False), (Arithmetic.fp32, True), (Arithmetic.bf16, True))


def benchmark(plan: Plan, conditions: Conditions) -> Iterator[Row]:
    """Differences and seconds per image, for each data set; a way of computing that fails here says so."""
    place = {"threads": conditions.threads, "allocator": conditions.allocator, "side": 256}
    for precision, compiled in FASTER if plan.compiles else FASTER[:1]:
        arguments = {"weights": plan.weights, "cases": plan.cases, "precision": str(precision), "compiled": compiled}
        try:
            for answer in fresh(conditions, measure, **arguments):
                yield Row("arithmetic", plan.weights, who="salip_exp", **place, **answer)
        except SystemExit as fault:
            print(f"arithmetic: {arithmetic_of(precision, compiled)} does not work here: {fault}")


def measure(weights: str, cases: int, precision: str, compiled: bool) -> Iterator[Answer]:
    """Both ways of computing on every image, in turn."""
    exact, plain = load(weights), load(weights)
    assert plain.clip is not None
    speed = Arithmetic(precision), compiled
    faster = Networks(sped_up(plain.sam, *speed), sped_up(plain.clip, *speed))
    name = arithmetic_of(*speed)
    for dataset in SETS:
        config = configured(f"dataset={dataset}")
        images = cases_of(config, cases)
        pairs, times = both(config, exact, faster, images)
        setting = f"{dataset}, {len(images)} images, {name}"
        base, other = (each.figures() for each in times)
        gain = {"ratio": base["value"] / other["value"], "ratio_of": "fp32 / this, per image"}
        yield {"setting": setting, "unit": "s", **other, **gain}
        for what, value in differences(pairs, images).items():
            yield {"setting": f"{setting}: {what}", "unit": "", "value": value, "n": len(images)}


def both(
    config: Config, exact: Networks, faster: Networks, images: list[Case]
) -> tuple[list[tuple[Prediction, Prediction]], tuple[Times, Times]]:
    """Predictions of both, and seconds; the first image is computed once before, for the compiler."""
    runners = [method(config, networks, NoStore()) for networks in (exact, faster)]
    times = Times(), Times()
    pairs = []
    for runner in runners:
        runner.predict(images[0])
    for case in images:
        predictions = []
        for runner, each in zip(runners, times, strict=True):
            with each.measured():
                predictions.append(runner.predict(case))
        pairs.append((predictions[0], predictions[1]))
    return pairs, times


def differences(pairs: list[tuple[Prediction, Prediction]], images: list[Case]) -> dict[str, float]:
    """How the faster pools and final masks differ from the exact ones."""
    pools = [(exact.pool, other.pool) for exact, other in pairs]
    counts = [(len(exact), len(other)) for exact, other in pools if exact is not None and other is not None]
    matches = [best_ious(exact.masks, other.masks) for exact, other in pools if exact is not None and other is not None]
    scores = [[dice(each, case) for each in pair] for pair, case in zip(pairs, images, strict=True)]
    return {
        "images with another number of masks": sum(exact != other for exact, other in counts),
        "masks in all, exact": sum(exact for exact, _ in counts),
        "masks in all": sum(other for _, other in counts),
        "mean IoU of paired masks": float(np.mean(np.concatenate(matches))),
        "mean IoU of final masks": fmean(mask_iou(exact.mask, other.mask) for exact, other in pairs),
        "mean DSC, exact": fmean(exact for exact, _ in scores),
        "mean DSC": fmean(other for _, other in scores),
        "largest change of DSC": max(abs(exact - other) for exact, other in scores),
    }


def best_ious(exact: Masks, other: Masks) -> np.ndarray:
    """For each exact mask, its IoU with the most similar of the other pool, (N,)."""
    first, second = (each.dense().reshape(len(each), -1).astype(np.float32) for each in (exact, other))
    shared = first @ second.T
    union = first.sum(1)[:, None] + second.sum(1)[None] - shared
    return (shared / np.maximum(union, 1)).max(axis=1, initial=0.0)


def dice(prediction: Prediction, case: Case) -> float:
    """DSC of the final mask."""
    assert case.mask is not None
    counts = overlap(prediction.mask, case.mask)
    return 2 * counts.both / max(1, counts.predicted + counts.target)
