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
from salip_exp.cascade.sentences import contrast_sentences, read_texts
from salip_exp.cascade.views import viewable
from salip_exp.config import Config, SamConfig
from salip_exp.data.case import Case
from salip_exp.methods.base import Networks, Prediction, Prompted, Status


@dataclass(frozen=True)
class Found:
    """The retrieved candidates of one image.

    Attributes:
        pool: all candidates.
        kept: those that CLIP scored.
        scores: float32, one per candidate of `kept`: similarity with the text, or with the set that it is most like.
        by_sentence: float32 (S, M), similarity of each with every sentence.
        by_contrast: float32 (C, M), the same with every sentence of something else (`confidence.contrast`).
        rows: positions in `kept` of the retrieved candidates, best first.
        status: ok, no_masks, all_filtered or k_short.
    """

    pool: Pool
    kept: Pool
    scores: NDArray[np.float32]
    by_sentence: NDArray[np.float32]
    by_contrast: NDArray[np.float32]
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
            contrast_scores=self.by_contrast,
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
        other = contrast_sentences(config, networks.sentences)
        self.others = [self.clip.text(other, config.retrieval.prototype)] if other else []

    def find(self, picture: Picture, watch: Stopwatch, sam: SamConfig | None = None) -> Found:
        """The candidates most like the text.

        Args:
            sam: how SAM proposes them; None: as configured.

        Raises:
            CaseError: E_SCORE, a score is not finite.
        """
        with watch.stage("everything"):
            pool = self.sam.pool(picture, sam or self.config.sam)
        with watch.stage("area"):
            kept = viewable(keep_small(pool, self.config.area), self.config.view)
        asked = [*self.texts, *self.others]
        by_text, by_sentence = self.clip.scores(picture, kept, self.config.view, asked, watch)
        by_text, own = by_text[: len(self.texts)], sum(len(text.sentences) for text in self.texts)
        with watch.stage("retrieval"):
            scores = by_text.max(axis=0)
            rows = self._one_set(kept, scores) if len(by_text) == 1 else self._one_each(kept, by_text)
        status = _status(pool, kept, rows, self.config.dataset.k)
        return Found(pool, kept, scores, by_sentence[:own], by_sentence[own:], rows, status)

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
        return self._predicted(Picture(case.image), self.config.sam)

    def _predicted(self, picture: Picture, sam: SamConfig) -> Prediction:
        watch = Stopwatch()
        found = self.finder.find(picture, watch, sam)
        selected = found.selected
        with watch.stage("organ"):
            mask = self._organ(picture, selected.boxes)
        refused = len(usable_boxes(selected.boxes, mask.shape)) < len(selected)
        prediction = found.prediction(mask, watch, Status.zero_box if refused else found.status)
        return replace(
            prediction,
            prompted=self._prompted(picture),
            again=partial(self._predicted, picture),
            retouched=lambda change: self._prompted(Picture(change(picture.image))),
        )

    def _prompted(self, picture: Picture) -> Prompted:
        return partial(self.sam.organs, picture, config=self.config.organ)

    def _organ(self, picture: Picture, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The last stage, bool (H, W): what boxes, float32 (n, 4), prompt."""
        return self.sam.organ(picture, boxes, self.config.organ)


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
