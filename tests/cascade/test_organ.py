"""Equation 5 equals SamPredictor, and only boxes with an extent reach SAM."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from salip_exp.cascade.counters import Counters
from salip_exp.cascade.embedding import embed
from salip_exp.cascade.organ import segment_boxes, segment_unprompted, usable_boxes
from salip_exp.config import OrganConfig

BOXES = np.float32([[10, 12, 60, 70], [0, 0, 127, 95], [90, 5, 120, 33]])


@pytest.fixture(params=["blob_sam", "random_sam"])
def net(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("multimask", [False, True])
def test_equals_the_predictor(net, picture, multimask):
    predictor = SamPredictor(net)
    predictor.set_image(picture)
    prompts = predictor.transform.apply_boxes_torch(torch.from_numpy(BOXES), picture.shape[:2])
    logits, iou, _ = predictor.predict_torch(None, None, prompts, None, multimask, return_logits=True)
    chosen = logits[torch.arange(3), iou.argmax(dim=1)] if multimask else logits[:, 0]
    counters = Counters()
    embedding = embed(net, picture, counters)[0]
    assert torch.equal(embedding.features, predictor.features)
    for threshold in (0.0, chosen.median().item(), chosen[1].median().item()):  # logits that occur: one bit would show
        mask = segment_boxes(net, embedding, BOXES, OrganConfig(multimask, threshold), counters)
        assert mask.any()
        np.testing.assert_array_equal(mask, (chosen > threshold).any(dim=0).numpy())
    assert counters == Counters(encoder_calls=1, box_decodes=9)


def test_many_boxes_are_the_union_of_single_ones(blob_sam, picture):
    rng = np.random.default_rng(0)
    start = rng.integers(0, 60, (20, 2))
    boxes = np.concatenate([start, start + rng.integers(5, 36, (20, 2))], axis=1).astype(np.float32)
    embedding = embed(blob_sam, picture, Counters())[0]
    single = [segment_boxes(blob_sam, embedding, box[None], OrganConfig(), Counters()) for box in boxes]
    together = segment_boxes(blob_sam, embedding, boxes, OrganConfig(), Counters())
    np.testing.assert_array_equal(together, np.any(single, axis=0))


def test_unprompted_equals_sam_forward(net, picture):
    resized = SamPredictor(net).transform.apply_image(picture)
    record = {"image": torch.as_tensor(resized).permute(2, 0, 1), "original_size": picture.shape[:2]}
    expected = net([record], multimask_output=False)[0]["masks"][0, 0].numpy()
    mask = segment_unprompted(net, embed(net, picture, Counters())[0], OrganConfig())
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
def test_boxes_are_clipped_or_refused(blob_sam, picture, box, usable):
    counters = Counters()
    kept = usable_boxes(np.float32([box]), (96, 128))
    assert kept.tolist() == ([] if usable is None else [usable])
    embedding = embed(blob_sam, picture, counters)[0]
    mask = segment_boxes(blob_sam, embedding, np.float32([box]), OrganConfig(), counters)
    assert counters.box_decodes == len(kept)
    assert mask.shape == (96, 128)
    assert mask.any() or usable is None


def test_refused_boxes_leave_the_others(blob_sam, picture):
    embedding = embed(blob_sam, picture, Counters())[0]
    mixed = np.float32([[5, 5, 5, 9], BOXES[0], [np.nan] * 4])
    np.testing.assert_array_equal(
        segment_boxes(blob_sam, embedding, mixed, OrganConfig(), Counters()),
        segment_boxes(blob_sam, embedding, BOXES[:1], OrganConfig(), Counters()),
    )
