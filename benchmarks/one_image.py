"""One image, no sweep: segment everything, and SAM once more for the box of the largest candidate.

The reference encodes the image again for the box, as SamPredictor must; the package reuses the embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from clock import in_turn
from contestant import method
from networks import Networks, load
from pictures import SETS, one_of_each
from plan import Plan
from processes import Answer, Conditions, fresh
from reference import published, require_same
from rows import Row

from salip_exp.cache.store import MemoryStore, NoStore, Store
from salip_exp.config import Config
from salip_exp.data.case import Case

STORES: dict[str, Callable[[], Store]] = {"cache=off": NoStore, "cache=memory": lambda: MemoryStore(512 << 20)}


def benchmark(plan: Plan, conditions: Conditions) -> Iterator[Row]:
    """Seconds per image of the reference, and of the package with nothing kept and with everything kept."""
    for answer in fresh(conditions, measure, weights=plan.weights, points=plan.points, repeats=plan.repeats):
        yield Row("one_image", plan.weights, threads=conditions.threads, allocator=conditions.allocator, **answer)


def overrides(weights: str, points: int | None) -> list[str]:
    """What turns the phantoms' configuration into that of the weights."""
    return [f"sam={weights.partition('+')[0]}", *([f"sam.points_per_side={points}"] if points else [])]


def measure(weights: str, points: int | None, repeats: int) -> Iterator[Answer]:
    """Compare on a phantom of each set (of one set with large networks), then time in turn."""
    networks = load(weights)
    chosen = one_of_each(overrides(weights, points))[: len(SETS) if weights == "tiny" else 1]
    masks = sum(compare(networks, config, case) for config, case in chosen)
    contestants: dict[str, Callable[[], Any]] = {"reference": partial(theirs, networks, chosen)}
    contestants |= {name: partial(ours, networks, chosen, store) for name, store in STORES.items()}
    times = in_turn(contestants, repeats)
    sam = chosen[0][0].sam
    grid = f"{sam.points_per_side}x{sam.points_per_side} points, {len(chosen)} phantoms"
    equal = f"{masks} masks and the final ones all equal"
    reference = times.pop("reference").figures(per=len(chosen))
    side = max(chosen[0][1].image.shape)
    yield {"side": side, "setting": grid, "who": "reference", "unit": "s", "work": equal, **reference}
    for name, each in times.items():
        figures = each.figures(per=len(chosen))
        yield {
            "side": side,
            "setting": f"{grid}, {name}",
            "who": "salip_exp",
            "unit": "s",
            "ratio": reference["value"] / figures["value"],
            "ratio_of": f"reference / salip_exp, of cpu {reference['cpu'] / figures['cpu']:.2f}",
            **figures,
        }


def compare(networks: Networks, config: Config, case: Case) -> int:
    """Stop where any mask differs; how many there are."""
    found = published(networks.sam.net, None, None, case.image, config)
    for store in STORES.values():
        prediction = method(config, networks, store(), with_clip=False).predict(case)
        assert prediction.pool is not None
        require_same(prediction.pool, prediction.mask, found)
    return len(found.records)


def theirs(networks: Networks, chosen: list[tuple[Config, Case]]) -> None:
    """The reference on every image."""
    for config, case in chosen:
        published(networks.sam.net, None, None, case.image, config)


def ours(networks: Networks, chosen: list[tuple[Config, Case]], store: Callable[[], Store]) -> None:
    """The package on every image, nothing kept from before."""
    for config, case in chosen:
        method(config, networks, store(), with_clip=False).predict(case)
