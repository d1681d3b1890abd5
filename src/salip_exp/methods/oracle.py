"""The oracle, an upper bound of what CLIP can choose: of the pool, the candidates that the target itself picks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.area import keep_small
from salip_exp.cascade.masks import Masks
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import Pool, candidate_ious, mask_ious
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.data.regions import regions
from salip_exp.methods.picture import Picture
from salip_exp.methods.prediction import Prediction, Status, Stopwatch, target_of
from salip_exp.methods.sam_stages import SamStages


class Oracle:
    """SaLIP with the target in CLIP's place: equations 1, 2 (unless area.enabled is off) and 5.

    Every ROI (`data.regions`) takes, of the candidates that overlap it, the one whose box prompts the mask with the
    highest IoU with it: a candidate can fit a region best by its own mask, and have a box that stray pixels spoil. One
    that no candidate overlaps takes none, and two may take the same; either is `k_short`. The scores of a prediction
    are these IoUs, not similarity with a text: of each kept candidate with the ROI that it serves best.
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
        with watch.stage("organ"):
            organs = self.sam.organs(picture, kept.boxes, self.config.organ)
        with watch.stage("retrieval"):
            ious = _ious(kept, organs, target, self.config.dataset.k)
            scores, rows = np.nan_to_num(ious).max(axis=0, initial=0.0).astype(np.float32), best_rows(ious)
        selected = kept.select(rows)
        return Prediction(
            mask=np.asarray(organs.select(rows).dense().any(axis=0)),
            status=_status(pool, kept, selected, len(ious), target.shape),
            pool=pool,
            kept_ids=kept.ids,
            kept_scores=scores,
            selected_ids=selected.ids.tolist(),
            selected_scores=scores[rows].tolist(),
            boxes=selected.boxes,
            seconds=watch.seconds,
        )


def _ious(kept: Pool, organs: Masks, target: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """IoU of ROIs (rows) with what the candidates' boxes prompt, NaN where a candidate does not overlap a ROI.

    Without rows for an empty target.
    """
    if not target.any():
        return np.zeros((0, len(kept)))
    rois = regions(target, k)
    return np.where(candidate_ious(kept, rois) > 0, mask_ious(organs, organs.areas, rois), np.nan)


def best_rows(ious: NDArray[np.float64]) -> NDArray[np.int64]:
    """The candidate that each ROI takes, best first and each once: the first of those with its highest IoU.

    Args:
        ious: float64 (ROIs, candidates), NaN for a candidate that a ROI may not take.
    """
    ious = ious[~np.isnan(ious).all(axis=1)]
    if not ious.size:
        return np.zeros(0, np.int64)
    order = np.argsort(-np.nanmax(ious, axis=1), kind="stable")
    return np.array(list(dict.fromkeys(np.nanargmax(ious, axis=1)[order].tolist())), dtype=np.int64)


def _status(pool: Pool, kept: Pool, selected: Pool, rois: int, size: tuple[int, int]) -> Status:
    if not len(pool) or not rois:
        return Status.no_masks
    if not len(kept):
        return Status.all_filtered
    if len(usable_boxes(selected.boxes, size)) < len(selected):
        return Status.zero_box
    return Status.ok if len(selected) == rois else Status.k_short
