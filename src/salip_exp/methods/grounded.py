"""Rivals of the cascade: a network finds what the text names, and its boxes prompt SAM, or its masks are the organ."""

from __future__ import annotations

import numpy as np

from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.sentences import read_texts
from salip_exp.cascade.spotting import best
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods._prompting import prompted
from salip_exp.methods.base import Networks, Prediction, Status
from salip_exp.networks._library_clip import Spotted


class _Spotting:
    """What the network finds by each sentence with a score above `clip.min_score`.

    One set of sentences gives the at most k best; separate sets (`vdt.parts`) give one each.
    """

    def __init__(self, config: Config, networks: Networks, masks: bool) -> None:
        self.config = config
        self.clip = networks.clip
        self.texts = read_texts(config.vdt) if config.vdt.parts else [networks.sentences]
        self.clip.require_spotter([sentence for text in self.texts for sentence in text], masks)

    def found(self, picture: Picture) -> Spotted:
        """What is taken of a picture; raises CaseError E_NONFINITE where an answer is no number."""
        above, overlap = self.config.clip.min_score, self.config.retrieval.max_overlap
        each = self.config.dataset.k if len(self.texts) == 1 else 1
        by_text = [[self.clip.spotted(picture, sentence, above) for sentence in text] for text in self.texts]
        return best([best(text, each, overlap) for text in by_text], self.config.dataset.k, 1)


class GroundedSam:
    """Boxes of what is found prompt SAM (Ren et al. 2024, https://arxiv.org/abs/2401.14159)."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.spotting = _Spotting(config, networks, masks=False)
        self.counters = networks.counters

    def predict(self, case: Case) -> Prediction:
        """Let SAM segment inside the boxes; without any it is not asked.

        Raises:
            CaseError: E_NONFINITE, an answer of a network is no number.
        """
        watch, picture = Stopwatch(), Picture(case.image)
        with watch.stage("retrieval"):
            boxes = self.spotting.found(picture).boxes
        return prompted(self.sam, picture, boxes, self.config, watch)


class Sam3Text:
    """The masks of SAM 3 for a concept (https://arxiv.org/abs/2511.16719); no other network is asked."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.spotting = _Spotting(config, networks, masks=True)
        self.counters = networks.counters

    def predict(self, case: Case) -> Prediction:
        """The union of the masks of what is found.

        Raises:
            CaseError: E_NONFINITE, an answer is no number.
        """
        watch, picture = Stopwatch(), Picture(case.image)
        with watch.stage("organ"):
            masks = self.spotting.found(picture).masks
        assert masks is not None  # `require_spotter` has asked
        status = Status.ok if len(masks) == self.config.dataset.k else Status.k_short if len(masks) else Status.no_masks
        return Prediction(mask=np.asarray(masks.any(axis=0)), status=status, seconds=watch.seconds)
