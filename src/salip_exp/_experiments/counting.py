"""How much the networks had to do, beside what the cells would take one by one with nothing kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from salip_exp._experiments.cells import Finished
from salip_exp._runs.folder import read_json
from salip_exp._settings.folders import File
from salip_exp.cascade.embedding import crop_plan
from salip_exp.cascade.everything import sampling_of
from salip_exp.config import SamConfig
from salip_exp.methods.traits import METHODS

COUNTED = ("encoder_calls", "decoded_points", "clip_images")
_NAIVE = (
    "naive: what each distinct cell takes alone with cache=off, counted from its records: encoder calls are cases "
    "times crop boxes, decoded points are those of every crop's grid, CLIP images the candidates that the filter left; "
    "searches and training are not counted; computed: what had to be done, without what the cache held before"
)


def computed(cell: Finished) -> dict[str, int]:
    """What the networks did for the cell, in whichever process and experiment that was."""
    counts = (read_json(cell.folder / File.manifest) or {}).get("counters", {})
    return {name: int(counts.get(name, 0)) for name in COUNTED}


def naive(cell: Finished) -> dict[str, int]:
    """What the cell takes alone, with cache=off.

    A case that has a pool went through segment-everything mode: every crop box is encoded once, and every point of its
    grid decoded. A method without a pool encodes the image once. CLIP sees each candidate that is left, or the image.
    """
    config = cell.config
    if not METHODS[config.method].sam:
        return dict.fromkeys(COUNTED, 0)
    done = [record for record in cell.records if not record.failed]
    pools = [record for record in done if record.n_pool is not None]
    crops, points = grid_size(config.sam)
    views = sum(record.n_kept or 0 for record in pools) + len(done) - len(pools)
    views = views if METHODS[config.method].clip else 0
    encodings = len(pools) * crops + len(done) - len(pools)
    return dict(zip(COUNTED, (encodings, len(pools) * points, views), strict=True))


def grid_size(config: SamConfig) -> tuple[int, int]:
    """Crop boxes of an image, and points of all their grids."""
    grids = sampling_of(config).grids
    plan = crop_plan((1024, 1024), config.crop_n_layers, config.crop_overlap_ratio)  # their number is the same for all
    return len(plan), sum(len(grids[crop.layer]) for crop in plan)


def totals(cells: Iterable[Finished]) -> dict[str, Any]:
    """Both counts over the distinct cells of an experiment, by counter, and the rule of the second."""
    distinct = {cell.folder: cell for cell in cells}.values()
    done: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for cell in distinct:
        done.update(computed(cell))
        alone.update(naive(cell))
    return {
        "cells": len(distinct),
        "computed": {name: done[name] for name in COUNTED},
        "naive": {name: alone[name] for name in COUNTED},
        "rule": _NAIVE,
    }
