"""Equations 1 to 4 on one image: what salip and sam_clip have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.area import keep_small
from salip_exp.cascade.counters import Counters
from salip_exp.cascade.embedding import Embedding, embed
from salip_exp.cascade.everything import segment_everything
from salip_exp.cascade.pool import Pool
from salip_exp.cascade.retrieval import retrieve, similarities, text_prototype
from salip_exp.cascade.views import viewable, views
from salip_exp.config import Config
from salip_exp.methods.prediction import Status, Stopwatch
from salip_exp.models.clip import LoadedClip
from salip_exp.models.sam import LoadedSam


@dataclass(frozen=True)
class Found:
    """The retrieved candidates of one image.

    Attributes:
        embedding: of the whole image, ready for promptable mode.
        pool: all candidates.
        kept: those that CLIP scored.
        scores: float32, one per candidate of `kept`.
        rows: positions in `kept` of the retrieved candidates, best first.
        status: ok, no_masks, all_filtered or k_short.
    """

    embedding: Embedding
    pool: Pool
    kept: Pool
    scores: NDArray[np.float32]
    rows: NDArray[np.int64]
    status: Status

    @property
    def selected(self) -> Pool:
        """The retrieved candidates, best first."""
        return self.kept.select(self.rows)


class Finder:
    """Segment everything, filter by area, show to CLIP, retrieve; the text is encoded once, here."""

    def __init__(
        self, config: Config, sam: LoadedSam, clip: LoadedClip, sentences: Sequence[str], counters: Counters
    ) -> None:
        self.config = config
        self.sam = sam.net
        self.clip = clip.net
        self.counters = counters
        self.prototype = text_prototype(self.clip, sentences, config.retrieval.prototype, counters)

    def find(self, image: NDArray[np.uint8], watch: Stopwatch) -> Found:
        """The candidates most like the text.

        Raises:
            CaseError: E_SCORE, a score is not finite.
        """
        sam = self.config.sam
        with watch.stage("everything"):
            embeddings = embed(self.sam, image, self.counters, sam.crop_n_layers, sam.crop_overlap_ratio)
            pool = segment_everything(self.sam, embeddings, sam, self.counters)
        with watch.stage("area"):
            kept = viewable(keep_small(pool, self.config.area), self.config.view)
        scores = self._scores(image, kept, watch)
        with watch.stage("retrieval"):
            k = self.config.dataset.k
            retrieval = self.config.retrieval
            rows = retrieve(kept, scores, k, retrieval.max_overlap, retrieval.ties)
        return Found(embeddings[0], pool, kept, scores, rows, _status(pool, kept, rows, k))

    def _scores(self, image: NDArray[np.uint8], pool: Pool, watch: Stopwatch) -> NDArray[np.float32]:
        """Scores of all candidates, holding the views of one batch at a time."""
        batch = self.config.clip.batch_size
        scores = [np.zeros(0, np.float32)]
        for start in range(0, len(pool), batch):
            part = pool.select(np.arange(start, min(start + batch, len(pool))))
            with watch.stage("views"):
                pictures = views(image, part, self.config.view)
            with watch.stage("retrieval"):
                fit = self.config.view.fit
                scores.append(similarities(self.clip, pictures, self.prototype, fit, batch, self.counters))
        return np.concatenate(scores)


def _status(pool: Pool, kept: Pool, rows: NDArray[np.int64], k: int) -> Status:
    if not len(pool):
        return Status.no_masks
    if not len(kept):
        return Status.all_filtered
    return Status.ok if len(rows) == k else Status.k_short
