"""The oracle, an upper bound of what CLIP can choose: of the pool, the candidates that the target itself picks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.area import keep_small
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import Pool, candidate_ious
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.data.regions import regions
from salip_exp.methods.picture import Picture
from salip_exp.methods.prediction import Prediction, Status, Stopwatch, target_of
from salip_exp.methods.sam_stages import SamStages


class Oracle:
    """SaLIP with the target in CLIP's place: equations 1, 2 (unless area.enabled is off) and 5.

    Every ROI (`data.regions`) takes the candidate with the highest IoU with it. One that no candidate overlaps takes
    none, and two may take the same; either is `k_short`. The scores of a prediction are IoU, not similarity with a
    text: of each kept candidate with the ROI that it fits best.
    """

    def __init__(self, config: Config, sam: SamStages) -> None:
        self.config = config
        self.sam = sam
        self.counters = sam.counters

    def predict(self, case: Case) -> Prediction:
        """Let SAM segment inside the boxes of the best candidates.

        Raises:
            CaseError: E_MASK, the case has no target.
        """
        target = target_of(case, "oracle")
        watch = Stopwatch()
        picture = Picture(case.image)
        with watch.stage("everything"):
            pool = self.sam.pool(picture, self.config.sam)
        with watch.stage("area"):
            kept = keep_small(pool, self.config.area)
        with watch.stage("retrieval"):
            ious = _ious(kept, target, self.config.dataset.k)
            scores, rows = ious.max(axis=0, initial=0.0).astype(np.float32), best_rows(ious)
        selected = kept.select(rows)
        with watch.stage("organ"):
            mask = self.sam.organ(picture, selected.boxes, self.config.organ)
        return Prediction(
            mask=mask,
            status=_status(pool, kept, selected, len(ious), target.shape),
            pool=pool,
            kept_ids=kept.ids,
            kept_scores=scores,
            selected_ids=selected.ids.tolist(),
            selected_scores=scores[rows].tolist(),
            boxes=selected.boxes,
            seconds=watch.seconds,
        )


def best_rows(ious: NDArray[np.float64]) -> NDArray[np.int64]:
    """The candidate that each ROI takes, best first and each once: the first of those with its highest IoU above 0.

    Args:
        ious: float64 (ROIs, candidates).
    """
    if not ious.size:
        return np.zeros(0, np.int64)
    best = ious.max(axis=1)
    taken = dict.fromkeys(ious.argmax(axis=1)[roi] for roi in np.argsort(-best, kind="stable") if best[roi] > 0)
    return np.array(list(taken), dtype=np.int64)


def _status(pool: Pool, kept: Pool, selected: Pool, rois: int, size: tuple[int, int]) -> Status:
    if not len(pool) or not rois:
        return Status.no_masks
    if not len(kept):
        return Status.all_filtered
    if len(usable_boxes(selected.boxes, size)) < len(selected):
        return Status.zero_box
    return Status.ok if len(selected) == rois else Status.k_short


def _ious(kept: Pool, target: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """IoU of ROIs with candidates; without rows for an empty target."""
    return candidate_ious(kept, regions(target, k)) if target.any() else np.zeros((0, len(kept)))
