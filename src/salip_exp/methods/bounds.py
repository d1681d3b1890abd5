"""Bounds of SaLIP: un-prompted SAM below; boxes of the target, and its own choice from the pool, above."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import Masks, Pool, candidate_ious, keep_small, mask_ious
from salip_exp.config import Config, PromptBoxes, PromptConfig
from salip_exp.data.case import Case
from salip_exp.data.regions import regions
from salip_exp.methods.base import Networks, Prediction, Status, target_of


class UnpromptedSam:
    """Promptable mode with the network's default embedding."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.counters = networks.counters

    def predict(self, case: Case) -> Prediction:
        """Decode the image's embedding without a prompt."""
        watch = Stopwatch()
        with watch.stage("organ"):
            mask = self.sam.unprompted(Picture(case.image), self.config.organ)
        return Prediction(mask=mask, status=Status.ok, seconds=watch.seconds)


class GtSam:
    """Promptable mode with the tight box of every component of the target."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.counters = networks.counters

    def predict(self, case: Case) -> Prediction:
        """Let SAM segment inside the target's boxes; without a usable box it is not asked.

        Raises:
            CaseError: E_MASK, the case has no target.
        """
        target = target_of(case, "gt_sam")
        watch = Stopwatch()
        boxes = _prompt_boxes(case, target, self.config.prompt)
        usable = usable_boxes(boxes, target.shape)
        with watch.stage("organ"):
            mask = self.sam.organ(Picture(case.image), usable, self.config.organ)
        status = _status_of_boxes(target, boxes, usable)
        return Prediction(mask=mask, status=status, boxes=boxes, seconds=watch.seconds)


def _prompt_boxes(case: Case, target: NDArray[np.bool_], config: PromptConfig) -> NDArray[np.float32]:
    if config.boxes is PromptBoxes.outlines:
        return outline_boxes(target if case.touched is None else case.touched)
    return component_boxes(target, config.min_component_area)


def outline_boxes(touched: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Tight boxes of the outer outlines of a mask (H, W), left to right: as the authors prompt with a target.

    What lies in the hole of another component has none, nor have points and lines, whose outline encloses nothing.

    Returns:
        float32 (n, 4), x0 y0 x1 y1 with inclusive far edges.
    """
    outlines, _ = cv2.findContours(touched.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = sorted(tuple(cv2.boundingRect(each)) for each in outlines if cv2.contourArea(each) > 0)
    x, y, width, height = np.array(found, np.float32).reshape(-1, 4).T
    return np.stack([x, y, x + width - 1, y + height - 1], axis=1)


def component_boxes(target: NDArray[np.bool_], min_area: int) -> NDArray[np.float32]:
    """Tight boxes of the 8-connected components of at least `min_area` pixels.

    Returns:
        float32 (n, 4), x0 y0 x1 y1 with inclusive far edges.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(target.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats[1:].T
    boxes = np.stack([x, y, x + width - 1, y + height - 1], axis=1).astype(np.float32)
    large: NDArray[np.float32] = boxes[area >= min_area]
    return large


def _status_of_boxes(target: NDArray[np.bool_], boxes: NDArray[np.float32], usable: NDArray[np.float32]) -> Status:
    if not target.any():
        return Status.no_masks
    if not len(boxes):
        return Status.all_filtered
    return Status.ok if len(usable) == len(boxes) else Status.zero_box


class Oracle:
    """SaLIP with the target in CLIP's place: equations 1, 2 (unless area.enabled is off) and 5.

    Every ROI (`data.regions`) takes, of the candidates that overlap it, the one whose box prompts the mask with the
    highest IoU with it: a candidate can fit a region best by its own mask, and have a box that stray pixels spoil. One
    that no candidate overlaps takes none, and two may take the same; either is `k_short`. The scores of a prediction
    are these IoUs, not similarity with a text: of each kept candidate with the ROI that it serves best.
    """

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.counters = networks.counters

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
            status=_status_of_choice(pool, kept, selected, len(ious), target.shape),
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


def _status_of_choice(pool: Pool, kept: Pool, selected: Pool, rois: int, size: tuple[int, int]) -> Status:
    if not len(pool) or not rois:
        return Status.no_masks
    if not len(kept):
        return Status.all_filtered
    if len(usable_boxes(selected.boxes, size)) < len(selected):
        return Status.zero_box
    return Status.ok if len(selected) == rois else Status.k_short
