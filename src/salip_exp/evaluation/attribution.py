"""Why a prediction failed: the first stage of the cascade that lost a region of interest (ROI).

The rule, with one threshold, FOUND = 0.5:

1. The ROIs are the k largest 8-connected components of the target (k as configured: two lungs); with k = 1 the whole
   target is the one ROI, whatever it consists of.
2. A candidate is a ROI if their IoU is at least FOUND.
3. The prediction is good, failure `none`, if its IoU with the target is at least FOUND and it covers at least FOUND of
   every ROI. Otherwise the failure is the first of these that holds for a ROI:

   - `sam`: no candidate of the pool is the ROI.
   - `filter`: such candidates were in the pool, and none was left after the area filter.
   - `duplicate`: CLIP saw one and it was not taken, while two that were taken are the same other ROI.
   - `clip`: CLIP saw one and it was not taken; also where two texts took one and the same candidate.
   - `prompt`: every ROI had its candidate taken, and the final mask is worse than it.

Who chose is told by the method's traits. The oracle asks no CLIP, and takes what its box prompts best even where
another candidate is the ROI: its failures are `sam`, `filter` and `prompt`. Where a rule of the method's own chose,
`choice` stands in place of `clip`.
Methods without a pool choose nothing: with boxes (gt_sam) their failure is `prompt`, without (unprompted_sam) `sam`.
One that does not ask SAM, as a U-Net, has no stages to blame, and its cases no failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.pool import Pool, candidate_ious
from salip_exp.data.regions import regions
from salip_exp.evaluation.metrics import iou
from salip_exp.methods.base import Prediction
from salip_exp.methods.traits import Chooser, Traits

FOUND = 0.5


class Failure(StrEnum):
    """The stage that lost the organ; see the module's rule."""

    none = "none"
    sam = "sam"
    filter = "filter"
    clip = "clip"
    duplicate = "duplicate"
    choice = "choice"
    prompt = "prompt"


@dataclass(frozen=True)
class Attribution:
    """What became of the ROIs of one case.

    Attributes:
        failure: the stage to blame.
        best_candidate_iou: the best IoU that the pool holds for the ROI it serves worst; None without a pool.
    """

    failure: Failure
    best_candidate_iou: float | None


def attribute(prediction: Prediction, target: NDArray[np.bool_], k: int, traits: Traits) -> Attribution | None:
    """Attribute one prediction; None for an empty target, where there is nothing to lose, and for one without SAM.

    Args:
        prediction: of the case.
        target: bool (H, W).
        k: how many ROIs an image holds.
        traits: of the method.
    """
    if not target.any() or not traits.sam:
        return None
    rois = regions(target, k)
    pool = prediction.pool
    table = None if pool is None else candidate_ious(pool, rois)
    best = None if table is None else float(table.max(axis=1, initial=0.0).min())
    if _is_good(prediction.mask, target, rois):
        return Attribution(Failure.none, best)
    if pool is None or table is None:
        return Attribution(Failure.prompt if len(prediction.boxes) else Failure.sam, best)
    failure = _blame(table >= FOUND, pool, prediction.kept_ids, prediction.selected_ids)
    return Attribution(_of_chooser(failure, traits.chooser), best)


def _of_chooser(failure: Failure, chooser: Chooser) -> Failure:
    """What is lost by the choice, in the name of who chose."""
    if failure not in (Failure.clip, Failure.duplicate) or chooser is Chooser.clip:
        return failure
    if chooser is Chooser.target:
        return Failure.prompt
    return Failure.choice if failure is Failure.clip else failure


def _is_good(mask: NDArray[np.bool_], target: NDArray[np.bool_], rois: NDArray[np.bool_]) -> bool:
    return iou(mask, target) >= FOUND and all(mask[roi].mean() >= FOUND for roi in rois)


def _blame(found: NDArray[np.bool_], pool: Pool, kept_ids: NDArray[np.int64], selected_ids: Sequence[int]) -> Failure:
    """The first stage that lost a ROI; `found` (R, N) says which candidate is which ROI."""
    kept = found[:, np.isin(pool.ids, kept_ids)].any(axis=1)
    hits = found[:, np.isin(pool.ids, np.asarray(selected_ids, dtype=np.int64))].sum(axis=1)
    if not found.any(axis=1).all():
        return Failure.sam
    if not kept.all():
        return Failure.filter
    if not hits.all():
        return Failure.duplicate if (hits > 1).any() else Failure.clip
    return Failure.prompt
