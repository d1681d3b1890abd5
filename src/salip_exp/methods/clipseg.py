"""A rival of the cascade: CLIPSeg (Lüddecke and Ecker 2022, https://arxiv.org/abs/2112.10003), without SAM."""

from __future__ import annotations

import numpy as np

from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.sentences import read_texts
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.base import Networks, Prediction, Status


class Clipseg:
    """The decoder of a CLIPSeg, conditioned on the mean of the sentences; of separate texts, the union of the masks.

    However many organs an image holds, all that is like the text belongs to the mask.
    """

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.clip = networks.clip
        self.counters = networks.counters
        texts = read_texts(config.vdt) if config.vdt.parts else [networks.sentences]
        self.conditions = [self.clip.condition(text) for text in texts]

    def predict(self, case: Case) -> Prediction:
        """What is like the text, at the size of the image.

        Raises:
            CaseError: E_NONFINITE, a logit is no number.
        """
        watch, picture = Stopwatch(), Picture(case.image)
        with watch.stage("organ"):
            masks = [self.clip.like(picture, each, self.config.organ.threshold) for each in self.conditions]
        return Prediction(mask=np.logical_or.reduce(masks), status=Status.ok, seconds=watch.seconds)
