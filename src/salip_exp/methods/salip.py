"""SaLIP, and SAM+CLIP, which is SaLIP without its last stage: equations 1 to 5 on one image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import Pool, keep_small
from salip_exp.cascade.retrieval import retrieve
from salip_exp.cascade.sentences import read_texts
from salip_exp.cascade.views import viewable
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.base import Networks, Prediction, Status


@dataclass(frozen=True)
class Found:
    """The retrieved candidates of one image.

    Attributes:
        pool: all candidates.
        kept: those that CLIP scored.
        scores: float32, one per candidate of `kept`: similarity with the text, or with the set that it is most like.
        by_sentence: float32 (S, M), similarity of each with every sentence.
        rows: positions in `kept` of the retrieved candidates, best first.
        status: ok, no_masks, all_filtered or k_short.
    """

    pool: Pool
    kept: Pool
    scores: NDArray[np.float32]
    by_sentence: NDArray[np.float32]
    rows: NDArray[np.int64]
    status: Status

    @property
    def selected(self) -> Pool:
        """The retrieved candidates, best first."""
        return self.kept.select(self.rows)

    def prediction(self, mask: NDArray[np.bool_], watch: Stopwatch, status: Status) -> Prediction:
        """A mask with the candidates that it was made of."""
        selected = self.selected
        return Prediction(
            mask=mask,
            status=status,
            pool=self.pool,
            kept_ids=self.kept.ids,
            kept_scores=self.scores,
            sentence_scores=self.by_sentence,
            selected_ids=selected.ids.tolist(),
            selected_scores=self.scores[self.rows].tolist(),
            boxes=selected.boxes,
            seconds=watch.seconds,
        )


class _Finder:
    """Segment everything, filter by area, show to CLIP, retrieve; the text is encoded once, here.

    One set of sentences retrieves k candidates. Separate sets (`vdt.parts`) retrieve one each, whatever the others
    take: two that take the same one leave a candidate too few, and the case is `k_short`.
    """

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.clip = networks.clip
        texts = read_texts(config.vdt) if config.vdt.parts else [networks.sentences]
        self.texts = [self.clip.text(text, config.retrieval.prototype) for text in texts]

    def find(self, picture: Picture, watch: Stopwatch) -> Found:
        """The candidates most like the text.

        Raises:
            CaseError: E_SCORE, a score is not finite.
        """
        with watch.stage("everything"):
            pool = self.sam.pool(picture, self.config.sam)
        with watch.stage("area"):
            kept = viewable(keep_small(pool, self.config.area), self.config.view)
        by_text, by_sentence = self.clip.scores(picture, kept, self.config.view, self.texts, watch)
        with watch.stage("retrieval"):
            scores = by_text.max(axis=0)
            rows = self._one_set(kept, scores) if len(by_text) == 1 else self._one_each(kept, by_text)
        return Found(pool, kept, scores, by_sentence, rows, _status(pool, kept, rows, self.config.dataset.k))

    def _one_set(self, kept: Pool, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        retrieval = self.config.retrieval
        return retrieve(kept, scores, self.config.dataset.k, retrieval.max_overlap, retrieval.ties)

    def _one_each(self, kept: Pool, by_text: NDArray[np.float32]) -> NDArray[np.int64]:
        retrieval = self.config.retrieval
        picks = [retrieve(kept, scores, 1, retrieval.max_overlap, retrieval.ties) for scores in by_text]
        rows = np.unique(np.concatenate(picks))
        return rows[np.argsort(-by_text.max(axis=0)[rows], kind="stable")]


def _status(pool: Pool, kept: Pool, rows: NDArray[np.int64], k: int) -> Status:
    if not len(pool):
        return Status.no_masks
    if not len(kept):
        return Status.all_filtered
    return Status.ok if len(rows) == k else Status.k_short


class Salip:
    """The whole cascade."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.counters = networks.counters
        self.finder = _Finder(config, networks)

    def predict(self, case: Case) -> Prediction:
        """Find the organ's candidates and let SAM segment inside their boxes."""
        watch = Stopwatch()
        picture = Picture(case.image)
        found = self.finder.find(picture, watch)
        selected = found.selected
        with watch.stage("organ"):
            mask = self.sam.organ(picture, selected.boxes, self.config.organ)
        refused = len(usable_boxes(selected.boxes, mask.shape)) < len(selected)
        prediction = found.prediction(mask, watch, Status.zero_box if refused else found.status)
        return replace(prediction, prompted=partial(self.sam.organs, picture, config=self.config.organ))


class SamClip:
    """The cascade without its last stage."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.counters = networks.counters
        self.finder = _Finder(config, networks)

    def predict(self, case: Case) -> Prediction:
        """Find the organ's candidates and unite their masks."""
        watch = Stopwatch()
        found = self.finder.find(Picture(case.image), watch)
        return found.prediction(np.logical_or.reduce(found.selected.masks.dense(), axis=0), watch, found.status)
