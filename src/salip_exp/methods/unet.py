"""U-Net, the supervised baseline: what it was trained to mark, all of it."""

from __future__ import annotations

import numpy as np

from salip_exp._timing import Stopwatch
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.base import Networks, Prediction, Status
from salip_exp.networks.unet import logits_of


class Unet:
    """One forward, thresholded at probability one half.

    All components stay, however many ROIs the image holds: dropping specks would be one more choice to tune.
    """

    def __init__(self, config: Config, networks: Networks) -> None:
        self.unet = networks.unet
        self.counters = networks.counters

    def predict(self, case: Case) -> Prediction:
        """The organ of one image."""
        watch = Stopwatch()
        with watch.stage("unet"):
            mask = np.asarray(logits_of(self.unet, case.image) > 0)
        self.counters.unet_forwards += 1
        return Prediction(mask=mask, status=Status.ok, seconds=watch.seconds)
