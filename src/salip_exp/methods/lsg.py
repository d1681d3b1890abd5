"""LSG-SAM (Imran and Lee, CogVL at CVPR 2026): a rival in when to doubt SAM, read from the published code.

Theirs starts from the boxes of the reference, grown by a fifth, as `_LsgSamReference` does. `LsgSam` starts from those
of the retrieved candidates, as they are, so that no label is used. Pixels are those of the image at working size.
"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.cached_sam import Answers, Picture, SamStages
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import mask_iou
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.bounds import GtSam
from salip_exp.methods.salip import Salip

_GATE = 0.85
"""Predicted IoU from which on SAM's one mask of a box is kept."""
_VARIANTS = 10
_CONSISTENT = 0.5
"""Mean IoU of all pairs of the variants' masks below which the box is moved about, else tightened."""
_SAME = 0.9
"""IoU above which what was found is not worth a change."""
_GROWN = 1.2
"""Sides of the boxes of a reference, over its own."""
_Boxes = NDArray[np.float32]
_Mask = NDArray[np.bool_]


class _Recipe:
    """What is made of boxes.

    A box whose one mask has a predicted IoU of 0.85 or more keeps it. Of others ten variants are asked for three masks
    each: where these agree, boxes around the one mask, a little larger and smaller, give the mask that SAM is surest
    of; where they do not, the vote of 28 boxes moved by up to 10 pixels does. It is taken unless it is nearly the same.
    """

    sam: SamStages
    config: Config

    def _organ(self, picture: Picture, boxes: _Boxes) -> _Mask:
        """What the recipe makes of boxes, float32 (n, 4): bool (H, W)."""
        masks = [self._one(picture, box) for box in usable_boxes(boxes, picture.size)]
        return np.asarray(np.logical_or.reduce([np.zeros(picture.size, bool), *masks], axis=0))

    def _one(self, picture: Picture, box: _Boxes) -> _Mask:
        first = self._asked(picture, box[None], multimask=False)
        mask: _Mask = first.masks[0]
        if first.predicted_iou[0] >= _GATE:
            return mask
        agreed = _consistency(self._asked(picture, _variants(picture, box))) >= _CONSISTENT
        found = self._tightened(picture, mask) if agreed else self._voted(picture, box)
        changed = found.any() and mask_iou(found, mask) <= _SAME
        return found if changed else mask

    def _tightened(self, picture: Picture, mask: _Mask) -> _Mask:
        """The mask that SAM is surest of, of boxes around one."""
        if not mask.any():
            return mask
        ys, xs = np.nonzero(mask)
        tight = np.array([xs.min(), ys.min(), xs.max(), ys.max()], np.float32)
        margins = [tight + each * np.array([-1, -1, 1, 1], np.float32) for each in (5, 8, 10)]
        answers = self._asked(picture, np.stack([*margins, *(_scaled(tight, each) for each in (0.97, 1, 1.03))]))
        return _surest(answers) if len(answers.masks) else mask

    def _voted(self, picture: Picture, box: _Boxes) -> _Mask:
        """What at least half of the masks of moved and scaled boxes hold; where none does, the surest."""
        shifts = [each for each in product((-10, -5, 0, 5, 10), repeat=2) if each != (0, 0)]
        moved = [box + np.array([*each, *each], np.float32) for each in shifts]
        answers = self._asked(picture, np.stack([*moved, *(_scaled(box, each) for each in (0.95, 1, 1.05, 1.1))]))
        vote = np.asarray(answers.masks.mean(axis=0) >= 0.5)
        return vote if vote.any() else _surest(answers)

    def _asked(self, picture: Picture, boxes: _Boxes, multimask: bool = True) -> Answers:
        """All masks of those boxes that are usable, (n, H, W)."""
        usable = usable_boxes(boxes.astype(np.float32), picture.size)
        return self.sam.answers(picture, usable, multimask, self.config.organ.threshold)


class LsgSam(_Recipe, Salip):
    """The cascade, whose last stage asks SAM again about each box that it is not sure of."""


class _LsgSamReference(_Recipe, GtSam):
    """The recipe on boxes of the target (`prompt_boxes`), grown by a fifth, as published: no result without labels."""

    def _sets(self, case: Case, target: _Mask) -> list[_Boxes]:
        sets = super()._sets(case, target)
        return [np.array([_scaled(box, _GROWN) for box in boxes], np.float32).reshape(-1, 4) for boxes in sets]


def _surest(answers: Answers) -> _Mask:
    mask: _Mask = answers.masks[int(answers.predicted_iou.argmax())]
    return mask


def _variants(picture: Picture, box: _Boxes) -> _Boxes:
    """The box and nine of other size, proportions and place, drawn with the picture: the same for the same pixels."""
    drawn, sides = np.random.default_rng(int(picture.key[:15], 16)), box[2:] - box[:2]
    scale, ratio = drawn.uniform(0.8, 1.5, _VARIANTS - 1), drawn.uniform(0.8, 1.2, _VARIANTS - 1)
    middle = (box[:2] + box[2:]) / 2 + drawn.uniform(-0.15, 0.15, (_VARIANTS - 1, 2)) * sides
    half = np.stack([scale * ratio, scale / ratio], axis=1) * sides / 2
    return np.concatenate([box[None], np.concatenate([middle - half, middle + half], axis=1)]).astype(np.float32)


def _scaled(box: _Boxes, scale: float) -> _Boxes:
    middle, half = (box[:2] + box[2:]) / 2, scale * (box[2:] - box[:2]) / 2
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def _consistency(answers: Answers) -> float:
    """Mean IoU of all pairs of masks; theirs takes fifteen of them by chance."""
    return float(np.mean([mask_iou(*pair) for pair in combinations(answers.masks, 2)]))
