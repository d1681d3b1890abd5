"""A rival of the cascade: where CLIP looks for the text in the whole image becomes boxes, and boxes prompt SAM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.saliency import boxes_of
from salip_exp.cascade.sentences import read_texts
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.errors import ConfigError
from salip_exp.methods._prompting import prompted
from salip_exp.methods.base import Networks, Prediction


class Saliency:
    """The way of MedCLIP-SAM, with the networks and the text of SaLIP; it has no pool of candidates.

    One set of sentences gives k boxes; separate sets (`vdt.parts`) give one each.
    """

    def __init__(self, config: Config, networks: Networks) -> None:
        if config.compile:
            raise ConfigError("method=saliency asks CLIP for gradients, which compile=true does not give: leave it out")
        self.config = config
        self.sam, self.clip = networks.sam, networks.clip
        self.counters = networks.counters
        texts = read_texts(config.vdt) if config.vdt.parts else [networks.sentences]
        self.texts = [self.clip.text(text, config.retrieval.prototype) for text in texts]

    def predict(self, case: Case) -> Prediction:
        """Let SAM segment inside the boxes of what CLIP finds relevant; without any it is not asked.

        Raises:
            CaseError: E_NONFINITE, an answer of a network is no number.
        """
        watch, picture = Stopwatch(), Picture(case.image)
        with watch.stage("retrieval"):
            boxes = self._boxes(picture)
        return prompted(self.sam, picture, boxes, self.config, watch)

    def _boxes(self, picture: Picture) -> NDArray[np.float32]:
        each = self.config.dataset.k if len(self.texts) == 1 else 1
        return np.concatenate([boxes_of(self.clip.relevance(picture, text), each) for text in self.texts])
