"""What each stage of the cascade lost of a case, in DSC, and the one that lost most.

A stage is charged with what it took out of reach. Downstream of the choice only boxes matter, so what counts of a
candidate is the mask M(b) that its box b prompts, not its own. With T the target,

    best(X) = the highest DSC of T with the union of M(b) over at most k boxes b of X   (`methods.bounds.best_rows`)

    any  = max(DSC of the union of M(b) over the boxes of T (`methods.bounds.prompt_boxes`), best(pool))
    pool = best(pool)          all candidates of SAM
    kept = best(kept)          those that the area filter left, and CLIP saw
    got  = DSC of the prediction

    prompt = 1 - any           what SAM makes of the best boxes there are
    sam    = any - pool        boxes that are not in the pool
    filter = pool - kept       candidates that were dropped
    clip   = kept - got        candidates that were there and not taken

They add up to 1 - DSC. None is negative: each value is the best of more boxes than the next, and a prediction that is
made of at most k kept boxes cannot exceed `kept`. (That holds up to k = 2. Beyond, and for methods of other packages,
what was got counts as in reach.) The experiment `ladder` climbs the same values by runs of `gt_sam`, `oracle` without
and with the filter, and `salip`.

Other methods are charged along the part of this chain that they have. Without a second prompt (sam_clip) M is the
candidate's own mask, and nothing is charged to `prompt`. A rule of the method's own takes CLIP's place as `choice`; the
oracle takes the best there is. Methods without a pool choose nothing: with boxes (gt_sam) all is `prompt`, without
(unprompted_sam) `sam`; where CLIP says where the boxes are (saliency, grounded_sam), all is `clip`. One that does not
ask SAM, as a U-Net, has no stages, nor has an empty target something to lose.

The failure of a case is the stage with the largest charge, if that is more than LOST (`evaluation.charges`); else it is
`none`: no stage has lost it. A choice that took two of which each prompts what the other does, with an IoU of _TWICE or
more, is called `duplicate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.pool import Masks, candidate_ious, mask_iou
from salip_exp.config import Config, Side
from salip_exp.data._regions import one_side, regions
from salip_exp.data.case import Case
from salip_exp.evaluation.charges import Failure, charged, lost_by
from salip_exp.evaluation.metrics import dice
from salip_exp.methods.base import Prediction
from salip_exp.methods.bounds import best_rows, prompt_boxes
from salip_exp.methods.traits import METHODS, Chooser

_TWICE = 0.5
"""IoU from which on two masks are the same thing."""

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Attribution:
    """What became of one case.

    Attributes:
        charges: DSC lost by stage, of those that the method has; they add up to 1 - DSC.
        failure: the stage that lost most.
        best_candidate_iou: the best IoU that the pool holds for the ROI it serves worst; None without a pool.
    """

    charges: dict[str, float]
    failure: Failure
    best_candidate_iou: float | None


def attribute(case: Case, prediction: Prediction, config: Config) -> Attribution | None:
    """Charge what one prediction lacks; None without a target or with an empty one, and for a method without SAM.

    SAM is asked, once for each, what the boxes of target and pool prompt.

    Args:
        case: with its target, bool (H, W).
        prediction: of the case.
        config: of the run: method, k, and how a target is prompted with.

    Raises:
        CaseError: E_NONFINITE, SAM's answer to one of these boxes is no number.
    """
    target = case.mask
    if target is None or not target.any() or not METHODS[config.method].sam:
        return None
    got = dice(prediction.mask, target)
    if prediction.pool is None:
        by_clip = METHODS[config.method].clip  # it chose the boxes, of whatever place
        charges = charged({Failure.clip if by_clip else Failure.prompt if len(prediction.boxes) else Failure.sam: got})
        return Attribution(charges, lost_by(charges), None)
    masks = prediction.pool.masks if prediction.prompted is None else prediction.prompted(prediction.pool.boxes)
    charges = charged(_bounds(case, target, prediction, masks, config) | {_chooser(config): got})
    ious = candidate_ious(prediction.pool, regions(target, config.dataset.k, config.prompt.min_component_area))
    failure = _by_choice(lost_by(charges), prediction, masks)
    return Attribution(charges, failure, float(ious.max(axis=1, initial=0.0).min()))


def roi_recall(mask: _Mask, target: _Mask | None, config: Config) -> float | None:
    """Share of the ROI that was found worst which a prediction holds, in [0, 1]; None without a target that has any.

    Of two that touch in the target (`dataset.k=2`) each is what lies in its half of the picture.
    """
    if target is None or not target.any():
        return None
    rois = regions(target, config.dataset.k, config.prompt.min_component_area)
    if config.dataset.k == 2 and len(rois) == 1:
        rois = np.stack([one_side(rois[0], side) for side in (Side.right, Side.left)])
    return min(float(mask[roi].mean()) for roi in rois if roi.any())


def _bounds(case: Case, target: _Mask, prediction: Prediction, masks: Masks, config: Config) -> dict[str, float]:
    """The highest DSC that is in reach before anything is chosen, of the stages that the method has."""
    assert prediction.pool is not None
    kept = masks.select(np.isin(prediction.pool.ids, prediction.kept_ids))
    of_pool, of_kept = (_best(each, target, config.dataset.k) for each in (masks, kept))
    bounds: dict[str, float] = {Failure.sam: of_pool, Failure.filter: of_kept}
    if prediction.prompted is None:
        return bounds
    of_target = [_dice(prediction.prompted(boxes), target) for boxes in prompt_boxes(case, target, config)]
    return {Failure.prompt: max(*of_target, of_pool), **bounds}


def _best(masks: Masks, target: _Mask, k: int) -> float:
    return _dice(masks.select(best_rows(masks, target, k)), target)


def _dice(masks: Masks, target: _Mask) -> float:
    return dice(np.asarray(masks.dense().any(axis=0)), target)


def _chooser(config: Config) -> Failure:
    """Who is charged with the choice: the oracle makes the best of what is kept, and loses nothing by it."""
    chooser = METHODS[config.method].chooser
    return {Chooser.clip: Failure.clip, Chooser.target: Failure.filter}.get(chooser, Failure.choice)


def _by_choice(failure: Failure, prediction: Prediction, masks: Masks) -> Failure:
    """The failure, `duplicate` where the choice took the same thing twice."""
    if failure not in (Failure.clip, Failure.choice) or prediction.pool is None:
        return failure
    taken = masks.select(np.isin(prediction.pool.ids, prediction.selected_ids))
    twice = any(mask_iou(one, other) >= _TWICE for one, other in combinations(taken, 2))
    return Failure.duplicate if twice else failure
