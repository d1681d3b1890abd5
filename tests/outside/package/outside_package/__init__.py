"""A package of somebody else's: a data set of arrays, a method without CLIP, a view and a score, in one file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.options import ViewKind
from salip_exp.config import Config, DatasetConfig, ScoreConfig, ViewConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.datasets import Listing, Reader
from salip_exp.data.loading import make_case
from salip_exp.evaluation.scores import Score
from salip_exp.methods.base import Networks, Prediction, Status
from salip_exp.methods.traits import Chooser, Traits


def read(root: Path, config: DatasetConfig) -> Listing:
    """Images (H, W) of `<name>.npy` with the masks of `<name>.mask.npy`."""
    names = sorted(path.stem for path in root.glob("*.npy") if not path.stem.endswith(".mask"))
    return Listing([CaseRef(name, config.group, name, partial(load, root, name, config)) for name in names])


def load(root: Path, name: str, config: DatasetConfig) -> Case:
    """One image with its mask."""
    image = np.repeat(np.load(root / f"{name}.npy")[:, :, None], 3, axis=2)
    ref = CaseRef(name, config.group, name, partial(load, root, name, config))
    return make_case(ref, config, root / f"{name}.npy", image, np.load(root / f"{name}.mask.npy"))


class Smallest:
    """The k smallest candidates of the pool, united."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.counters = networks.counters

    def predict(self, case: Case) -> Prediction:
        """The prediction of one case."""
        pool = self.sam.pool(Picture(case.image), self.config.sam)
        chosen = pool.select(np.argsort(pool.areas, kind="stable")[: self.config.dataset.k])
        return Prediction(
            mask=np.logical_or.reduce(chosen.masks.dense(), axis=0),
            status=Status.ok if len(chosen) else Status.no_masks,
            pool=pool,
            kept_ids=pool.ids,
            kept_scores=-pool.areas.astype(np.float32),
            selected_ids=chosen.ids.tolist(),
            selected_scores=(-chosen.areas.astype(float)).tolist(),
            boxes=chosen.boxes,
        )


def upside_down(image: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int], config: ViewConfig) -> np.ndarray:
    """The candidate's box, turned."""
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(image[y0 : y1 + 1, x0 : x1 + 1][::-1])


def covered(case: Case, prediction: Prediction, config: ScoreConfig) -> float:
    """The share of the image that the prediction covers."""
    return float(prediction.mask.mean())


ARRAYS = Reader(read, "Arrays wants <name>.npy and <name>.mask.npy below dataset.root.")
SMALLEST = Traits(Smallest, sam=True, chooser=Chooser.method)
UPSIDE_DOWN = ViewKind(upside_down)
COVERED = Score("covered", "Covered", "share of the image that the prediction covers", covered)
