"""SAM+CLIP (the paper's Table 5): the retrieved candidates are the prediction, without a second look by SAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.clip_stages import ClipStages
from salip_exp.methods.finder import Finder
from salip_exp.methods.picture import Picture
from salip_exp.methods.prediction import Prediction, Stopwatch
from salip_exp.methods.sam_stages import SamStages


class SamClip:
    """The cascade without its last stage."""

    def __init__(self, config: Config, sam: SamStages, clip: ClipStages, sentences: Sequence[str]) -> None:
        self.counters = sam.counters
        self.finder = Finder(config, sam, clip, sentences)

    def predict(self, case: Case) -> Prediction:
        """Find the organ's candidates and unite their masks."""
        watch = Stopwatch()
        found = self.finder.find(Picture(case.image), watch)
        selected = found.selected
        return Prediction(
            mask=np.logical_or.reduce(selected.masks.dense(), axis=0),
            status=found.status,
            pool=found.pool,
            kept_ids=found.kept.ids,
            kept_scores=found.scores,
            selected_ids=selected.ids.tolist(),
            selected_scores=found.scores[found.rows].tolist(),
            boxes=selected.boxes,
            seconds=watch.seconds,
        )
