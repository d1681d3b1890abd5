"""Bounds of SaLIP: un-prompted SAM below; boxes of the target, and its own choice from the pool, above."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import Masks, Pool, keep_small, mask_ious, pack
from salip_exp.config import Config, PromptBoxes, Side
from salip_exp.data._regions import one_side, regions
from salip_exp.data.case import Case
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
    """Promptable mode with boxes of the target (`prompt_boxes`), of several sets those that prompt the better mask."""

    def __init__(self, config: Config, networks: Networks) -> None:
        self.config = config
        self.sam = networks.sam
        self.counters = networks.counters

    def predict(self, case: Case) -> Prediction:
        """Let SAM segment inside the target's boxes; without a usable box it is not asked.

        Raises:
            CaseError: E_MASK, the case has no target.
        """
        target = target_of(case, self.config.method)
        watch, picture = Stopwatch(), Picture(case.image)
        sets = self._sets(case, target)
        with watch.stage("organ"):
            masks = pack(np.stack([self._organ(picture, boxes) for boxes in sets]))
        row = next(iter(best_rows(masks, target, 1)), 0)
        boxes = sets[row]
        status = _status_of_boxes(target, boxes, usable_boxes(boxes, target.shape))
        return Prediction(mask=masks[row], status=status, boxes=boxes, seconds=watch.seconds)

    def _sets(self, case: Case, target: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
        """Sets of boxes that may prompt, float32 (n, 4)."""
        return prompt_boxes(case, target, self.config)

    def _organ(self, picture: Picture, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """What boxes prompt: bool (H, W)."""
        return self.sam.organ(picture, boxes, self.config.organ)


def prompt_boxes(case: Case, target: NDArray[np.bool_], config: Config) -> list[NDArray[np.float32]]:
    """Sets of boxes that a case's target can prompt with, float32 (n, 4), x0 y0 x1 y1 with inclusive far edges.

    The first holds the boxes of its components. Where there is one and k = 2, organs may touch, and their common box
    prompts neither: a second set holds the boxes of what lies in either half of the picture (`data._regions.one_side`).
    """
    prompt = config.prompt
    if prompt.boxes is PromptBoxes.outlines:
        return [_outline_boxes(target if case.touched is None else case.touched)]
    boxes = _component_boxes(target, prompt.min_component_area)
    if config.dataset.k != 2 or len(boxes) != 1:
        return [boxes]
    (organs,) = regions(target, 2, prompt.min_component_area)
    halves = [one_side(organs, side) for side in (Side.right, Side.left)]
    of_halves = np.concatenate([_component_boxes(half, prompt.min_component_area) for half in halves])
    return [boxes, of_halves] if len(of_halves) > 1 else [boxes]


def _outline_boxes(touched: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Tight boxes of the outer outlines of a mask (H, W), left to right: as the authors prompt with a target.

    What lies in the hole of another component has none, nor have points and lines, whose outline encloses nothing.

    Returns:
        float32 (n, 4), x0 y0 x1 y1 with inclusive far edges.
    """
    outlines, _ = cv2.findContours(touched.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = sorted(tuple(cv2.boundingRect(each)) for each in outlines if cv2.contourArea(each) > 0)
    x, y, width, height = np.array(found, np.float32).reshape(-1, 4).T
    return np.stack([x, y, x + width - 1, y + height - 1], axis=1)


def _component_boxes(target: NDArray[np.bool_], min_area: int) -> NDArray[np.float32]:
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

    Of what the area filter leaves it takes the at most k candidates whose boxes prompt the best mask (`best_rows`):
    SaLIP cannot choose better from the same candidates. Where all that is left prompts nothing of the target, it takes
    none. The scores of a prediction are not likeness to a text, but the IoU of what each box prompts with the target.
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
            rows = best_rows(organs, target, self.config.dataset.k)
            scores = _ious(organs, target).astype(np.float32)
        selected = kept.select(rows)
        return Prediction(
            mask=np.asarray(organs.select(rows).dense().any(axis=0)),
            status=self._status(target, pool, kept, selected),
            pool=pool,
            kept_ids=kept.ids,
            kept_scores=scores,
            selected_ids=selected.ids.tolist(),
            selected_scores=scores[rows].tolist(),
            boxes=selected.boxes,
            seconds=watch.seconds,
            prompted=partial(self.sam.organs, picture, config=self.config.organ),
        )

    def _status(self, target: NDArray[np.bool_], pool: Pool, kept: Pool, selected: Pool) -> Status:
        """`k_short` where fewer candidates were worth taking than the target has regions."""
        if not len(pool) or not target.any():
            return Status.no_masks
        if not len(kept):
            return Status.all_filtered
        found = regions(target, self.config.dataset.k, self.config.prompt.min_component_area)
        return Status.ok if len(selected) >= len(found) else Status.k_short


def _ious(organs: Masks, target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of each mask with the target; 0 for an empty target."""
    return mask_ious(organs, organs.areas, target[None])[0] if target.any() else np.zeros(len(organs))


def best_rows(masks: Masks, target: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    """Rows of the at most k masks whose union has the highest DSC with a target, int64, the best alone first.

    No row is taken that gains nothing; of equals the first are. Up to k = 2 no selection is better: every pair that
    could be is looked at. Beyond it the best pair is joined by what gains most, one mask at a time.

    Args:
        masks: N of them.
        target: bool (H, W).
        k: 1 or more.
    """
    if not len(masks) or not target.any():
        return np.zeros(0, np.int64)
    unions = _Unions(masks, target)
    best = unions.grown([], 1)
    if k > 1:
        best = unions.grown(unions.best_pair(best), k)
    alone = unions.dsc([], np.array(best, np.int64))
    return np.array(best, np.int64)[np.argsort(-alone, kind="stable")]


class _Unions:
    """DSC of unions of masks with a target that is not empty."""

    def __init__(self, masks: Masks, target: NDArray[np.bool_]) -> None:
        self.bits = np.stack([np.packbits(mask) for mask in masks])
        self.goal = np.packbits(target)
        self.target = int(target.sum())
        self.rows = np.arange(len(masks))
        self.inside = _count(self.bits & self.goal)
        self.outside = _count(self.bits) - self.inside

    def dsc(self, taken: Sequence[int], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """DSC of what was taken together with each of some rows."""
        whole = self.bits[rows] | np.bitwise_or.reduce(self.bits[list(taken)], axis=0)
        found: NDArray[np.float64] = 2 * _count(whole & self.goal) / (_count(whole) + self.target)
        return found

    def best_pair(self, best: Sequence[int]) -> list[int]:
        """The best pair, or what was the best so far where no pair is better."""
        taken, top = list(best), self._of(best)
        for first in np.argsort(-self.dsc([], self.rows), kind="stable").tolist():
            others = self.rows[first + 1 :]
            others = others[self._most(first, others) > top]
            scores = self.dsc([first], others)
            if scores.max(initial=0.0) > top:
                taken, top = [first, int(others[scores.argmax()])], float(scores.max())
        return taken

    def grown(self, taken: Sequence[int], k: int) -> list[int]:
        """What was taken, and up to k rows in all, each that gains most, as long as one gains."""
        grown = list(taken)
        while len(grown) < k:
            scores = self.dsc(grown, self.rows)
            if scores.max() <= self._of(grown):
                break
            grown.append(int(scores.argmax()))
        return grown

    def _of(self, taken: Sequence[int]) -> float:
        return float(self.dsc(taken, np.array(taken[:1], np.int64)).max(initial=0.0))

    def _most(self, first: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """What no union of a row with each of some others exceeds: all that both have inside, and no overlap of it."""
        inside = np.minimum(self.target, self.inside[first] + self.inside[others])
        outside = np.maximum(self.outside[first], self.outside[others])
        most: NDArray[np.float64] = 2 * inside / (inside + outside + self.target)
        return most


def _count(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each row of bits."""
    counts: NDArray[np.int64] = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return counts
