"""U-Net, the supervised baseline: what it was trained to mark, all of it."""

from __future__ import annotations

import numpy as np

from salip_exp.cascade.work import Counters
from salip_exp.data.case import Case
from salip_exp.methods.base import Prediction, Status, Stopwatch
from salip_exp.networks.unet import LoadedUnet, logits_of


class Unet:
    """One forward, thresholded at probability one half.

    All components stay, however many ROIs the image holds: dropping specks would be one more choice to tune.
    """

    def __init__(self, unet: LoadedUnet) -> None:
        self.unet = unet
        self.counters = Counters()

    def predict(self, case: Case) -> Prediction:
        """The organ of one image."""
        watch = Stopwatch()
        with watch.stage("unet"):
            mask = np.asarray(logits_of(self.unet, case.image) > 0)
        self.counters.unet_forwards += 1
        return Prediction(mask=mask, status=Status.ok, seconds=watch.seconds)
