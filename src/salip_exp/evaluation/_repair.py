"""Repair: flagged predictions are tried again in other ways, and the one that is believed in most is taken.

A ladder that is entered only where a case is flagged: what is not flagged stays as it is, to the bit. A step is taken
only where the confidence rises by more than `repair.margin`, its noise, and no other measure of the mask falls by as
much: a confidence that rests on few of them must not be bought with another. No target is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.organ import Hint
from salip_exp.cascade.pool import Masks, Pool, mask_iou
from salip_exp.config import Config, RepairStep
from salip_exp.evaluation._assessment import Assessment, Assessor
from salip_exp.evaluation._confidence import moved
from salip_exp.methods.base import Prediction, Status

_Boxes = NDArray[np.float32]
_Step = Callable[[Prediction, Config], Iterator[Prediction]]
_GROWTH = 0.1  # of a box's sides
_OF_MASKS = ("stability", "pairwise", "agreement", "predicted_iou", "shape", "pair")
"""Signals that no step may lower; those of CLIP fall with every candidate but the first."""
_NEXT = 4  # candidates that are looked at beyond those that were retrieved


@dataclass(frozen=True)
class Outcome:
    """What became of a prediction.

    Attributes:
        prediction: as it was, or as a step made it.
        believed: of it.
        step: that made it; None where it is as it was.
        first: the confidence of what it was; None where it is as it was.
    """

    prediction: Prediction
    believed: Assessment
    step: RepairStep | None = None
    first: float | None = None


def assessed(prediction: Prediction, assess: Assessor, config: Config) -> Outcome:
    """What is believed of a prediction, and a better one in its place where it is flagged and `repair` asks for it.

    Raises:
        CaseError: SAM cannot be asked for boxes.
    """
    return _repaired(prediction, assess(prediction), assess, config)


def _repaired(prediction: Prediction, believed: Assessment, assess: Assessor, config: Config) -> Outcome:
    """The prediction, or a better one where it is flagged; steps end with the first that lifts the flag."""
    best = Outcome(prediction, believed)
    if not config.repair.enabled or believed.flag is None or believed.confidence is None or prediction.prompted is None:
        return best
    least = believed.confidence + config.repair.margin
    for step in config.repair.steps:
        for attempt in STEPS[step](prediction, config):
            told = assess(attempt)
            reached = max(least, best.believed.confidence or 0.0)
            harmless = _harmless(believed.signals, told.signals, config.repair.margin)
            if told.confidence is not None and told.confidence > reached and harmless:
                best = Outcome(attempt, told, step, believed.confidence)
        if best.believed.flag is None:
            break
    return best


def _harmless(before: Mapping[str, float], after: Mapping[str, float], margin: float) -> bool:
    return all(after[name] >= before[name] - margin for name in _OF_MASKS if name in before)


def _grow(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """Boxes grown by a tenth of their sides: SAM seldom leaves the box, and an organ may."""
    sides = np.tile(prediction.boxes[:, 2:] - prediction.boxes[:, :2], 2)
    grown = (prediction.boxes + _GROWTH / 2 * np.array([-1, -1, 1, 1], np.float32) * sides).astype(np.float32)
    yield _prompted(prediction, grown)


def _iterate(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """The boxes of what their boxes gave."""
    masks = _asked(prediction, prediction.boxes)
    yield _prompted(prediction, masks.boxes[masks.areas > 0].astype(np.float32))


def _union(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """All that the boxes and their moves give."""
    yield replace(prediction, mask=np.logical_or.reduce(_ensemble(prediction), axis=0))


def _vote(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """What most of the boxes and their moves give."""
    yield replace(prediction, mask=_ensemble(prediction).mean(axis=0) > 0.5)


def _candidates(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """The next candidates by CLIP's score, in the place of each that was retrieved, where they meet no other."""
    chosen, pool = prediction.selected_ids, _pool(prediction)
    mask_of = dict(zip(pool.ids.tolist(), pool.masks, strict=True))
    for other in [each for each in _ranked(prediction) if each not in chosen][:_NEXT]:
        for place in range(max(1, len(chosen))):
            rest = [*chosen[:place], *chosen[place + 1 :]]
            if not any(mask_iou(mask_of[other], mask_of[each]) for each in rest):
                yield _choice(prediction, [*rest, other], config.dataset.k)


def _pairs(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """Of two ROIs the pairs of the best candidates that lie side by side and do not meet."""
    if config.dataset.k != 2:
        return
    pool = _pool(prediction)
    row_of = {number: row for row, number in enumerate(pool.ids.tolist())}
    for pair in combinations(_ranked(prediction)[: 2 + _NEXT], 2):
        one, other = (row_of[number] for number in pair)
        beside = pool.boxes[one, 2] < pool.boxes[other, 0] or pool.boxes[other, 2] < pool.boxes[one, 0]
        if set(pair) != set(prediction.selected_ids) and beside and not mask_iou(pool.masks[one], pool.masks[other]):
            yield _choice(prediction, list(pair), config.dataset.k)


def _points(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """Each box together with the point that lies deepest inside its candidate."""
    yield _hinted(prediction, [Hint(_deepest(mask)) for mask in _chosen(prediction)])


def _mask(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """Each box together with its candidate as a mask prompt."""
    yield _hinted(prediction, [Hint(mask=mask) for mask in _chosen(prediction)])


def _grid(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """The cascade with twice as many points per side."""
    if prediction.again is not None:
        yield prediction.again(replace(config.sam, points_per_side=2 * config.sam.points_per_side))


def _crops(prediction: Prediction, config: Config) -> Iterator[Prediction]:
    """The cascade with one more layer of crops."""
    if prediction.again is not None:
        yield prediction.again(replace(config.sam, crop_n_layers=config.sam.crop_n_layers + 1))


STEPS: Mapping[RepairStep, _Step] = {
    RepairStep.grow: _grow,
    RepairStep.iterate: _iterate,
    RepairStep.union: _union,
    RepairStep.vote: _vote,
    RepairStep.candidates: _candidates,
    RepairStep.pairs: _pairs,
    RepairStep.points: _points,
    RepairStep.mask: _mask,
    RepairStep.grid: _grid,
    RepairStep.crops: _crops,
}
"""What each step tries of a prediction of a run."""


def repooled(prediction: Prediction, step: RepairStep, config: Config) -> Prediction:
    """A method's own prediction with the pool of what a step made of it, which is its own unless it was asked again."""
    anew = step in (RepairStep.grid, RepairStep.crops)
    return next(STEPS[step](prediction, config), prediction) if anew else prediction


def _ranked(prediction: Prediction) -> list[int]:
    """Ids of the candidates that CLIP scored, best first."""
    order = np.lexsort((prediction.kept_ids, -prediction.kept_scores))
    return [int(each) for each in prediction.kept_ids[order]]


def _choice(prediction: Prediction, ids: list[int], k: int) -> Prediction:
    """The prediction of other candidates."""
    pool = _pool(prediction)
    score = dict(zip(prediction.kept_ids.tolist(), prediction.kept_scores.tolist(), strict=True))
    ordered = sorted(ids, key=lambda number: (-score[number], number))
    boxes = np.concatenate([pool.boxes[pool.ids == number] for number in ordered])
    status = Status.ok if len(ids) == k else Status.k_short
    other = replace(prediction, selected_ids=ordered, selected_scores=[score[each] for each in ordered], status=status)
    return _prompted(other, boxes)


def _prompted(prediction: Prediction, boxes: _Boxes) -> Prediction:
    return replace(prediction, boxes=boxes, mask=_united(prediction, boxes))


def _hinted(prediction: Prediction, hints: list[Hint]) -> Prediction:
    assert prediction.prompted is not None
    masks = prediction.prompted(prediction.boxes, hints=hints).dense()
    return replace(prediction, mask=np.asarray(np.logical_or.reduce(masks, axis=0), bool))


def _chosen(prediction: Prediction) -> Masks:
    """The masks of the retrieved candidates, in the order of their boxes."""
    pool = _pool(prediction)
    row_of = {number: row for row, number in enumerate(pool.ids.tolist())}
    return pool.masks.select(np.array([row_of[each] for each in prediction.selected_ids], np.int64))


def _deepest(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The pixel farthest from the outside of a mask, where the frame is outside, as a point on the organ, (1, 3)."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return np.array([[x, y, 1]], np.float32)


def _ensemble(prediction: Prediction) -> NDArray[np.bool_]:
    """The mask and those of its moved boxes, bool (5, H, W)."""
    others = [_united(prediction, boxes) for boxes in moved(prediction.boxes)]
    return np.stack([prediction.mask, *others])


def _united(prediction: Prediction, boxes: _Boxes) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.reduce(_asked(prediction, boxes).dense(), axis=0), bool)


def _asked(prediction: Prediction, boxes: _Boxes) -> Masks:
    assert prediction.prompted is not None  # no other is repaired
    return prediction.prompted(boxes)


def _pool(prediction: Prediction) -> Pool:
    assert prediction.pool is not None  # whoever has a confidence has one
    return prediction.pool
