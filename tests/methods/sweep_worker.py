"""A process of a sweep over one cache: `python sweep_worker.py FOLDER SEED` prints the networks' work as JSON."""

from __future__ import annotations

import itertools
import json
import random
import sys

import numpy as np
import torch

from salip_exp.cache.store import open_store
from salip_exp.cascade.cached_sam import Picture, SamStages
from salip_exp.cascade.work import Counters
from salip_exp.config import CacheConfig, SamConfig
from salip_exp.networks._embedded.networks import build_sam
from salip_exp.networks.sam import LoadedSam

IMAGES = 5
GRIDS = (2, 4)


def pictures() -> list[Picture]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (IMAGES, 6, 8, 3)).astype(np.uint8)
    return [Picture(np.kron(each, np.ones((16, 16, 1), np.uint8))) for each in coarse]


def main(folder: str, seed: int) -> None:
    torch.manual_seed(0)
    counters = Counters()
    sam = LoadedSam(build_sam(), "random", "0", torch.device("cpu"))
    stages = SamStages(sam, open_store(CacheConfig(folder=folder)), counters)
    jobs = list(itertools.product(pictures(), GRIDS, (0.0, 0.5)))
    random.Random(seed).shuffle(jobs)
    for picture, grid, threshold in jobs:
        config = SamConfig(
            name="random", points_per_side=grid, pred_iou_thresh=threshold, stability_score_thresh=0.0,
            crop_n_layers=1, crop_n_points_downscale_factor=2, min_mask_region_area=20,
        )  # fmt: skip
        stages.pool(picture, config)
    print(json.dumps(counters.to_dict()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
