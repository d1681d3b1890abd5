"""SaLIP: retrieved candidates become box prompts (equations 1 to 5)."""

from __future__ import annotations

from collections.abc import Sequence

from salip_exp.cascade.organ import usable_boxes
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.clip_stages import ClipStages
from salip_exp.methods.finder import Finder
from salip_exp.methods.picture import Picture
from salip_exp.methods.prediction import Prediction, Status, Stopwatch
from salip_exp.methods.sam_stages import SamStages


class Salip:
    """The whole cascade."""

    def __init__(self, config: Config, sam: SamStages, clip: ClipStages, sentences: Sequence[str]) -> None:
        self.config = config
        self.sam = sam
        self.counters = sam.counters
        self.finder = Finder(config, sam, clip, sentences)

    def predict(self, case: Case) -> Prediction:
        """Find the organ's candidates and let SAM segment inside their boxes."""
        watch = Stopwatch()
        picture = Picture(case.image)
        found = self.finder.find(picture, watch)
        selected = found.selected
        with watch.stage("organ"):
            mask = self.sam.organ(picture, selected.boxes, self.config.organ)
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
