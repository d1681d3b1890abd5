"""Un-prompted SAM, the lower bound: the one mask that SAM gives without any prompt."""

from __future__ import annotations

from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.picture import Picture
from salip_exp.methods.prediction import Prediction, Status, Stopwatch
from salip_exp.methods.sam_stages import SamStages


class UnpromptedSam:
    """Promptable mode with the network's default embedding."""

    def __init__(self, config: Config, sam: SamStages) -> None:
        self.config = config
        self.sam = sam
        self.counters = sam.counters

    def predict(self, case: Case) -> Prediction:
        """Decode the image's embedding without a prompt."""
        watch = Stopwatch()
        with watch.stage("organ"):
            mask = self.sam.unprompted(Picture(case.image), self.config.organ)
        return Prediction(mask=mask, status=Status.ok, seconds=watch.seconds)
