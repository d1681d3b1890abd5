"""Un-prompted SAM, the lower bound: the one mask that SAM gives without any prompt."""

from __future__ import annotations

from salip_exp.cascade.counters import Counters
from salip_exp.cascade.embedding import embed
from salip_exp.cascade.organ import segment_unprompted
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.prediction import Prediction, Status, Stopwatch
from salip_exp.models.sam import LoadedSam


class UnpromptedSam:
    """Promptable mode with the network's default embedding."""

    def __init__(self, config: Config, sam: LoadedSam) -> None:
        self.config = config
        self.sam = sam.net
        self.counters = Counters()

    def predict(self, case: Case) -> Prediction:
        """Decode the image's embedding without a prompt."""
        watch = Stopwatch()
        with watch.stage("everything"):
            embedding = embed(self.sam, case.image, self.counters)[0]
        with watch.stage("organ"):
            mask = segment_unprompted(self.sam, embedding, self.config.organ)
        return Prediction(mask=mask, status=Status.ok, seconds=watch.seconds)
