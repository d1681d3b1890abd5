"""The package's side: its method objects, and the same without CLIP."""

from __future__ import annotations

import numpy as np
from networks import Networks

from salip_exp._timing import Stopwatch
from salip_exp.cache.store import Store
from salip_exp.cascade.cached_sam import Picture, SamStages
from salip_exp.cascade.pool import keep_small
from salip_exp.cascade.sentences import read_sentences
from salip_exp.cascade.views import viewable
from salip_exp.cascade.work import Counters
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods._registry import build_method
from salip_exp.methods.base import Method, Prediction, Status


def method(config: Config, networks: Networks, store: Store, with_clip: bool = True) -> Method:
    """The configured method; without CLIP the largest candidate is the one retrieved."""
    if networks.clip is None or not with_clip:
        return Largest(config, networks, store)
    return build_method(config, networks.sam, networks.clip, read_sentences(config.vdt), store)


class Largest:
    """Segment everything, filter by area, prompt with the boxes of the k largest candidates: SaLIP without CLIP."""

    def __init__(self, config: Config, networks: Networks, store: Store) -> None:
        self.config = config
        self.counters = Counters()
        self.stages = SamStages(networks.sam, store, self.counters)

    def predict(self, case: Case) -> Prediction:
        """The final mask and the pool it comes from."""
        watch = Stopwatch()
        picture = Picture(case.image)
        with watch.stage("everything"):
            pool = self.stages.pool(picture, self.config.sam)
        kept = viewable(keep_small(pool, self.config.area), self.config.view)
        rows = np.argsort(-kept.areas, kind="stable")[: self.config.dataset.k]
        with watch.stage("organ"):
            mask = self.stages.organ(picture, kept.boxes[rows], self.config.organ)
        return Prediction(mask, Status.ok, pool, kept.ids, boxes=kept.boxes[rows], seconds=watch.seconds)
