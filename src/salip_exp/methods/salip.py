"""SaLIP: retrieved candidates become box prompts (equations 1 to 5)."""

from __future__ import annotations

from collections.abc import Sequence

from salip_exp.cascade.counters import Counters
from salip_exp.cascade.organ import segment_boxes, usable_boxes
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.finder import Finder
from salip_exp.methods.prediction import Prediction, Status, Stopwatch
from salip_exp.models.clip import LoadedClip
from salip_exp.models.sam import LoadedSam


class Salip:
    """The whole cascade."""

    def __init__(self, config: Config, sam: LoadedSam, clip: LoadedClip, sentences: Sequence[str]) -> None:
        self.config = config
        self.sam = sam.net
        self.counters = Counters()
        self.finder = Finder(config, sam, clip, sentences, self.counters)

    def predict(self, case: Case) -> Prediction:
        """Find the organ's candidates and let SAM segment inside their boxes."""
        watch = Stopwatch()
        found = self.finder.find(case.image, watch)
        selected = found.selected
        with watch.stage("organ"):
            mask = segment_boxes(self.sam, found.embedding, selected.boxes, self.config.organ, self.counters)
        refused = len(usable_boxes(selected.boxes, mask.shape)) < len(selected)
        return Prediction(
            mask=mask,
            status=Status.zero_box if refused else found.status,
            pool=found.pool,
            kept_ids=found.kept.ids,
            kept_scores=found.scores,
            selected_ids=selected.ids.tolist(),
            selected_scores=found.scores[found.rows].tolist(),
            boxes=selected.boxes,
            seconds=watch.seconds,
        )
