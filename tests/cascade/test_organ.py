"""Equation 5 equals SamPredictor, and only boxes with an extent reach SAM."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from salip_exp.cascade.embedding import embed
from salip_exp.cascade.organ import Hint, segment_box, segment_unprompted, usable_boxes
from salip_exp.cascade.work import Counters
from salip_exp.config import OrganConfig

BOXES = np.float32([[10, 12, 60, 70], [0, 0, 127, 95], [90, 5, 120, 33]])


@pytest.fixture(params=["blob_sam", "random_sam"])
def net(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("multimask", [False, True])
def test_equals_the_predictor(net, picture, multimask):
    predictor = SamPredictor(net)
    predictor.set_image(picture)
    counters = Counters()
    embedding = embed(net, picture, counters)[0]
    assert torch.equal(embedding.features, predictor.features)
    for box in BOXES:
        logits, iou, _ = predictor.predict(box=box, multimask_output=multimask, return_logits=True)
        chosen = logits[iou.argmax()]
        for threshold in (
            0.0,
            np.median(chosen).item(),
            chosen[40, 50].item(),
        ):  # logits that occur: one bit would show
            mask = segment_box(net, embedding, box, OrganConfig(multimask, threshold), counters)
            np.testing.assert_array_equal(mask, chosen > threshold)
    assert counters == Counters(encoder_calls=1, box_decodes=9)


@pytest.mark.parametrize("box", [None, BOXES[0]])
def test_what_is_told_beside_a_box_equals_the_predictor(net, picture, box):
    predictor = SamPredictor(net)
    predictor.set_image(picture)
    points = np.float32([[30, 40, 1], [100, 20, 0]])
    mask = np.zeros(picture.shape[:2], bool)
    mask[20:60, 15:55] = True
    low = np.zeros(net.prompt_encoder.mask_input_size, np.float32)
    height, width = predictor.input_size
    scaled = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    side = net.image_encoder.img_size
    square = np.pad(scaled, ((0, side - height), (0, side - width)))
    low = 20 * cv2.resize(square, low.shape[::-1], interpolation=cv2.INTER_AREA) - 10
    logits, iou, _ = predictor.predict(
        points[:, :2], points[:, 2], box=box, mask_input=low[None], multimask_output=True, return_logits=True
    )
    ours = segment_box(net, embed(net, picture, Counters())[0], box, OrganConfig(True), Counters(), Hint(points, mask))
    np.testing.assert_array_equal(ours, logits[iou.argmax()] > 0)


def test_unprompted_equals_sam_forward(net, picture):
    resized = SamPredictor(net).transform.apply_image(picture)
    record = {"image": torch.as_tensor(resized).permute(2, 0, 1), "original_size": picture.shape[:2]}
    expected = net([record], multimask_output=False)[0]["masks"][0, 0].numpy()
    mask = segment_unprompted(net, embed(net, picture, Counters())[0], OrganConfig(), Counters())
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("box", "usable"),
    [
        ([-5, -5, 300, 20], [0, 0, 127, 20]),
        ([3, 4, 5, 6], [3, 4, 5, 6]),
        ([3, 4, 3, 9], None),
        ([3, 4, 9, 4], None),
        ([0, 0, 0, 0], None),
        ([9, 4, 3, 9], None),
        ([200, 4, 300, 9], None),
        ([np.nan, 4, 9, 9], None),
        ([3, 4, np.inf, 9], None),
    ],
)
@pytest.mark.fault("P6")
def test_boxes_are_clipped_or_refused(box, usable):
    kept = usable_boxes(np.float32([box]), (96, 128))
    assert kept.tolist() == ([] if usable is None else [usable])
