"""Signals: how good a prediction is believed to be, by what SAM and CLIP say; no target is needed.

Each is a number in [0, 1] (`margin` and `contrast` in [-2, 2]) where more is better. A ROI that was not found counts as
0: they are averaged over the k ROIs that the image holds, so that finding one lung of two is never the safer choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.pool import Masks, Pool, mask_ious
from salip_exp.config import EmptyTarget
from salip_exp.data._regions import components
from salip_exp.evaluation.metrics import dice
from salip_exp.methods.base import Prediction

Segment = Callable[[NDArray[np.float32]], NDArray[np.bool_]]
"""SAM's mask for boxes (n, 4) in the image of the prediction."""
Measure = Callable[[Prediction, int, Segment], float]
"""Of a prediction with a pool, for k ROIs."""
SHIFT = 0.05  # of a box's sides
MOVES = np.array([[-1, -1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1]], np.float32)
"""How the corners of a box move: out, in, up and left, down and right."""
_TONES = (1.25, 0.8)
"""Powers of grey values, darker and lighter."""


def predicted_iou(prediction: Prediction, k: int) -> float:
    """Sum of SAM's own estimate for the retrieved candidates, over k: in [0, 1], a ROI that was not found counts 0."""
    return float(np.clip(_selected(prediction).predicted_iou, 0, 1).astype(np.float64).sum()) / k


def agreement(prediction: Prediction, k: int) -> float:
    """Dice of the final mask with the union of the retrieved candidates: SAM's two modes see the same thing."""
    found = _selected(prediction)
    if not len(found):
        return 0.0
    return _found(prediction, k) * _dice(prediction.mask, _united(found.masks))


def margin(prediction: Prediction, k: int) -> float:
    """CLIP's lowest score of a retrieved candidate above its best score of another; 0 where there is no other."""
    chosen = np.isin(prediction.kept_ids, np.asarray(prediction.selected_ids, np.int64))
    ours, others = prediction.kept_scores[chosen], prediction.kept_scores[~chosen]
    if not len(ours) or not len(others):
        return 0.0
    return _found(prediction, k) * (float(ours.min()) - float(others.max()))


def stability(prediction: Prediction, k: int, segment: Segment) -> float:
    """Mean Dice of the final mask with the masks that its boxes give when their corners move by 5 % of their sides."""
    if not len(prediction.boxes):
        return 0.0
    masks = [segment(boxes) for boxes in moved(prediction.boxes)]
    return _found(prediction, k) * float(np.mean([_dice(prediction.mask, mask) for mask in masks]))


def moved(boxes: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The boxes (n, 4) after each of MOVES."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return [(boxes + SHIFT * move * sides).astype(np.float32) for move in MOVES]


def pairwise(prediction: Prediction, k: int, segment: Segment) -> float:
    """Mean Dice of all pairs among the final mask and those of its moved boxes.

    The disagreement of an ensemble, the field's best single measure (Zenk et al., MedIA 2025); its members are prompts
    here, not networks.
    """
    if not len(prediction.boxes):
        return 0.0
    return _alike(prediction, k, [segment(boxes) for boxes in moved(prediction.boxes)])


def ensemble(prediction: Prediction, k: int, segment: Segment) -> float:
    """Mean Dice of all pairs among the final mask and others that might as well have been given.

    As `pairwise` (Zenk et al., MedIA 2025), with an ensemble of all that the cascade rests on: its boxes moved; the
    retrieved candidates, as they are; the boxes of those that meet them most; of those that are retrieved where leaving
    out one sentence changes the choice; and its boxes in the image darker and lighter.
    """
    if not len(prediction.boxes):
        return 0.0
    boxes = [*moved(prediction.boxes), _neighbours(prediction), *_without_a_sentence(prediction)]
    toned = (
        [] if prediction.retouched is None else [prediction.retouched(partial(_toned, power=each)) for each in _TONES]
    )
    candidates = _united(_selected(prediction).masks)
    others = [*map(segment, boxes), candidates, *(_united(prompted(prediction.boxes)) for prompted in toned)]
    return _alike(prediction, k, others)


def _alike(prediction: Prediction, k: int, others: Sequence[NDArray[np.bool_]]) -> float:
    """Mean Dice of all pairs of the final mask and others; a ROI that was not found counts 0."""
    pairs = combinations([prediction.mask, *others], 2)
    return _found(prediction, k) * float(np.mean([_dice(*pair) for pair in pairs]))


def _neighbours(prediction: Prediction) -> NDArray[np.float32]:
    """The boxes of the candidates that meet the retrieved ones most, each its own where no other meets it, (n, 4)."""
    assert prediction.pool is not None
    others = prediction.pool.select(~np.isin(prediction.pool.ids, np.asarray(prediction.selected_ids, np.int64)))
    found = _selected(prediction)
    if not len(others):
        return found.boxes
    shared = mask_ious(others.masks, others.areas, found.masks.dense())
    return np.where(shared.max(axis=1, keepdims=True) > 0, others.boxes[shared.argmax(axis=1)], found.boxes)


def _without_a_sentence(prediction: Prediction) -> list[NDArray[np.float32]]:
    """The boxes of each other choice that leaving out one sentence leads to."""
    assert prediction.pool is not None
    each, n = prediction.sentence_scores.astype(np.float64), len(prediction.selected_ids)

    def choice(scores: NDArray[np.float64]) -> tuple[int, ...]:
        return tuple(sorted(prediction.kept_ids[np.argsort(-scores, kind="stable")[:n]].tolist()))

    whole = each.sum(axis=0)
    others = {choice(whole - one) for one in each} - {choice(whole)} if len(each) > 1 else set()
    return [prediction.pool.boxes[np.isin(prediction.pool.ids, ids)] for ids in sorted(others)]


def _toned(image: NDArray[np.uint8], power: float) -> NDArray[np.uint8]:
    """An image whose grey values, between black and white, are raised to a power."""
    return np.rint(255 * (image / 255) ** power).astype(np.uint8)


def sentences(prediction: Prediction, k: int) -> float:
    """Share of the retrieved candidates that a sentence alone retrieves too, averaged over the sentences.

    An ensemble of sentences, which takes no forward: CLIP has read each. 1 where there is one sentence only.
    """
    each, chosen = prediction.sentence_scores, np.isin(prediction.kept_ids, np.asarray(prediction.selected_ids))
    if not each.size or not chosen.any():
        return 0.0
    picks = np.argsort(-each, axis=1, kind="stable")[:, : int(chosen.sum())]
    return _found(prediction, k) * float(chosen[picks].mean())


def contrast(prediction: Prediction, k: int) -> float:
    """CLIP's lowest score of a retrieved candidate above the best that it gives to a sentence of something else.

    The question is wrong where its answer looks more like another organ, or like background (MedVeriSeg 2026 rejects
    false queries so). 0 where there are no such sentences.
    """
    chosen = np.isin(prediction.kept_ids, np.asarray(prediction.selected_ids, np.int64))
    if not chosen.any() or not prediction.contrast_scores.size:
        return 0.0
    above = prediction.kept_scores[chosen] - prediction.contrast_scores[:, chosen].max(axis=0)
    return _found(prediction, k) * float(above.min())


def shape(prediction: Prediction, k: int) -> float:
    """Area of the k largest components over that of their convex hulls, with specks beside them counted as hull.

    Organs asked for here are compact: ragged, hollow and scattered masks are not (solidity).
    """
    parts = components(prediction.mask, k)
    if not len(parts):
        return 0.0
    whole, inside = int(prediction.mask.sum()), int(parts.sum())
    return len(parts) / k * inside / (sum(map(_hull, parts)) + whole - inside)


def pair(prediction: Prediction, k: int) -> float:
    """How alike the two components of a pair are, left and right: area, height and place, the smallest of the three.

    The smaller area over the larger, the rows that both cover over those that either covers, and the columns that only
    one covers over all that either does. 1 unless two ROIs are asked for; 0 where one component is found.
    """
    if k != 2:
        return 1.0
    parts = components(prediction.mask, 2)
    if len(parts) < 2:
        return 0.0
    areas, rows, columns = parts.sum(axis=(1, 2)), parts.max(axis=2), parts.max(axis=1)
    beside = 1 - columns.all(axis=0).sum() / columns.any(axis=0).sum()
    level = rows.all(axis=0).sum() / rows.any(axis=0).sum()
    return float(min(areas.min() / areas.max(), level, beside))


@dataclass(frozen=True)
class Signal:
    """One measure of confidence.

    Attributes:
        measure: its value.
        decodes: boxes that SAM is asked anew for each box of the prediction; signals that ask for the same share them.
            `ensemble` asks for those of other choices, too, and its last two of images that are encoded for it.
    """

    measure: Measure
    decodes: int = 0


def _told(measure: Callable[[Prediction, int], float]) -> Signal:
    """A signal of what is known already."""
    return Signal(lambda found, k, segment: measure(found, k))


SIGNALS: Mapping[str, Signal] = {
    "agreement": _told(agreement),
    "predicted_iou": _told(predicted_iou),
    "margin": _told(margin),
    "stability": Signal(stability, len(MOVES)),
    "pairwise": Signal(pairwise, len(MOVES)),
    "sentences": _told(sentences),
    "contrast": _told(contrast),
    "shape": _told(shape),
    "pair": _told(pair),
    "ensemble": Signal(ensemble, len(MOVES) + 1 + len(_TONES)),
}
"""By name."""


def signals(prediction: Prediction, k: int, names: Sequence[str]) -> dict[str, float]:
    """Those signals of a prediction that it can have, by name.

    None of a prediction without candidates; where no boxes prompt SAM, none that would ask it; `contrast` where CLIP
    was told of something else.

    Raises:
        CaseError: SAM cannot be asked for its boxes, moved.
    """
    prompted = prediction.prompted

    @cache
    def asked(boxes: bytes) -> NDArray[np.bool_]:
        assert prompted is not None
        return _united(prompted(np.frombuffer(boxes, np.float32).reshape(-1, 4)))

    lacks = {name for name, signal in SIGNALS.items() if prompted is None and signal.decodes}
    lacks |= set() if len(prediction.contrast_scores) else {"contrast"}
    can = [each for each in names if prediction.pool is not None and each not in lacks]
    return {name: SIGNALS[name].measure(prediction, k, lambda boxes: asked(boxes.tobytes())) for name in can}


def _selected(prediction: Prediction) -> Pool:
    """The retrieved candidates, in the order of the pool."""
    assert prediction.pool is not None  # whoever asks has a method with a pool
    return prediction.pool.select(np.isin(prediction.pool.ids, np.asarray(prediction.selected_ids, np.int64)))


def _united(masks: Masks) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.reduce(masks.dense(), axis=0), bool)


def _found(prediction: Prediction, k: int) -> float:
    return len(prediction.selected_ids) / k


def _dice(mine: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return dice(mine, other, EmptyTarget.zero)


def _hull(part: NDArray[np.bool_]) -> float:
    """Pixels of the convex hull of a component: never fewer than its own."""
    rows, columns = np.nonzero(part)
    hull = cv2.convexHull(np.stack([columns, rows], axis=1).astype(np.int32))
    drawn = cv2.fillConvexPoly(np.zeros(part.shape, np.uint8), hull, 1)
    return max(float(drawn.sum()), float(len(rows)))
