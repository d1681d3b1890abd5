"""LSG-SAM on the cascade's boxes: when the first mask stays, and which takes its place."""

from __future__ import annotations

import numpy as np
import pytest

from salip_exp.cascade.cached_sam import Answers, Picture
from salip_exp.cascade.work import Counters
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.base import Networks, Status
from salip_exp.methods.lsg import LsgSam, _consistency, _LsgSamReference, _scaled, _variants

PICTURE = Picture(np.zeros((60, 100, 3), np.uint8))
BOX = np.float32([[20, 20, 59, 49]])


def inside(box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = np.round(box).astype(int)
    mask = np.zeros(PICTURE.size, bool)
    mask[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1] = True
    return mask


class Sam:
    """Fills boxes; the first answer has a predicted IoU, and of three masks only `agreed` ones are alike."""

    def __init__(self, first: float, agreed: bool) -> None:
        self.first, self.agreed, self.asked = first, agreed, []

    def answers(self, picture: Picture, boxes: np.ndarray, multimask: bool, threshold: float) -> Answers:
        self.asked.append(len(boxes))
        if not multimask:
            return Answers(inside(boxes[0])[None], np.float32([self.first]))
        masks = [each for box in boxes for each in self._three(box)]
        return Answers(np.stack(masks), np.linspace(0, 0.8, len(masks), dtype=np.float32))

    def _three(self, box: np.ndarray) -> list[np.ndarray]:
        corner = np.zeros(PICTURE.size, bool)
        corner[:5, :5] = True
        return [inside(box)] * 3 if self.agreed else [inside(box), corner, ~inside(box)]


def made(sam: Sam) -> LsgSam:
    method = object.__new__(LsgSam)
    method.sam, method.config = sam, Config()
    return method


@pytest.mark.parametrize(
    ("first", "agreed", "asked"), [(0.85, False, [1]), (0.84, True, [1, 10, 6]), (0.84, False, [1, 10, 28])]
)
def test_a_box_is_asked_about_again_where_sam_is_unsure(first: float, agreed: bool, asked: list[int]) -> None:
    sam = Sam(first, agreed)
    mask = made(sam)._organ(PICTURE, BOX)
    assert sam.asked == asked
    if first >= 0.85 or agreed:
        np.testing.assert_array_equal(mask, inside(BOX[0]), "what is nearly the same is not taken")


def test_a_vote_takes_the_place_of_a_mask_that_it_differs_from() -> None:
    sam = Sam(0.1, agreed=False)
    sam._three = lambda box: [np.roll(inside(box), 30, axis=1), np.roll(inside(box), 30, axis=1), ~inside(box)]
    mask = made(sam)._organ(PICTURE, BOX)
    assert mask[30, 70] and not mask[30, 20]


def test_variants_are_those_of_the_paper_and_the_same_for_the_same_picture() -> None:
    boxes = _variants(PICTURE, BOX[0])
    np.testing.assert_array_equal(boxes, _variants(PICTURE, BOX[0]))
    np.testing.assert_array_equal(boxes[0], BOX[0])
    sides, middles = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    area = sides.prod(axis=1) / sides[0].prod()
    assert len(boxes) == 10 and (area >= 0.8**2 - 1e-5).all() and (area <= 1.5**2 + 1e-5).all()
    assert (np.abs(middles - middles[0]) <= 0.15 * sides[0] + 1e-4).all()
    np.testing.assert_allclose(_scaled(BOX[0], 2), [0.5, 5.5, 78.5, 63.5])


def test_of_the_reference_boxes_grown_by_a_fifth_start_the_same_recipe() -> None:
    target = np.zeros(PICTURE.size, bool)
    target[20:50, 20:60] = True
    sam = Sam(0.84, agreed=True)
    method = _LsgSamReference(Config(method="lsg_sam_reference"), Networks(Counters(), sam=sam))
    found = method.predict(Case("c", "stub", "all", PICTURE.image, target, None, "s"))
    np.testing.assert_allclose(found.boxes, [[16.1, 17.1, 62.9, 51.9]], atol=1e-4)
    assert sam.asked == [1, 10, 6], "as on any other box"
    np.testing.assert_array_equal(found.mask, made(Sam(0.84, agreed=True))._organ(PICTURE, found.boxes))
    assert found.status is Status.ok and found.pool is None
    nothing = method.predict(Case("c", "stub", "all", PICTURE.image, np.zeros(PICTURE.size, bool), None, "s"))
    assert nothing.status is Status.no_masks and not nothing.mask.any() and len(sam.asked) == 3


def test_without_a_usable_box_nothing_is_asked_or_found() -> None:
    sam = Sam(0.1, agreed=True)
    assert not made(sam)._organ(PICTURE, np.zeros((0, 4), np.float32)).any() and not sam.asked
    assert _consistency(Answers(np.stack([inside(BOX[0])] * 3), np.ones(3, np.float32))) == 1
