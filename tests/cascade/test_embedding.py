"""Crop boxes are encoded as the reference encodes them; resizing leaves out only what changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything import SamPredictor

from salip_exp.cascade import embedding as module
from salip_exp.cascade.embedding import Crop, Embedding, crop_plan, embed, embed_crops, input_size_of, upscale
from salip_exp.cascade.work import Counters, Limits


def test_every_crop_box_has_the_predictors_bits(random_sam, picture):
    predictor = SamPredictor(random_sam)
    counters = Counters()
    embeddings = embed(random_sam, picture, counters, crop_n_layers=1)
    assert counters == Counters(encoder_calls=5)
    for each in embeddings:
        x0, y0, x1, y1 = each.crop_box
        predictor.set_image(picture[y0:y1, x0:x1])
        assert torch.equal(each.features, predictor.features)
        assert each.input_size == predictor.input_size == input_size_of(random_sam, Crop(each.crop_box, each.layer))


def test_crop_boxes_in_one_call_give_the_same_up_to_rounding(random_sam, picture, monkeypatch):
    plan = crop_plan(picture.shape[:2], 1)
    single = embed_crops(random_sam, picture, plan, Counters())
    sizes = []
    monkeypatch.setattr(module, "_CROPS_AT_ONCE", {"cpu": 3})
    hook = random_sam.image_encoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    counters = Counters()
    together = embed_crops(random_sam, picture, plan, counters)
    hook.remove()
    assert sizes == [3, 2]
    assert counters.encoder_calls == 5
    for one, other in zip(single, together, strict=True):
        assert (one.crop_box, one.input_size) == (other.crop_box, other.input_size)
        torch.testing.assert_close(one.features, other.features, rtol=1e-3, atol=1e-4)


def test_a_gpu_without_room_for_all_takes_fewer_for_the_rest_of_the_run(random_sam, picture, monkeypatch):
    plan, limits = crop_plan(picture.shape[:2], 1), Limits()
    monkeypatch.setattr(module, "_CROPS_AT_ONCE", {"cpu": 5})
    encode = random_sam.image_encoder.forward

    def scarce(pixels):
        if len(pixels) > 1:
            raise torch.OutOfMemoryError
        return encode(pixels)

    monkeypatch.setattr(random_sam.image_encoder, "forward", scarce)
    counters = Counters()
    assert len(embed_crops(random_sam, picture, plan, counters, limits)) == 5
    assert limits.crops.size == 1
    assert counters.encoder_calls == 5


@pytest.mark.parametrize("threads", [1, 2])
@given(height=st.integers(1, 256), width=st.integers(1, 256), seed=st.integers(0, 9))
def test_upscaling_has_the_reference_bits_at_every_size(random_sam, threads, height, width, seed):
    """Also where the second resize is left out: where an image is as large as the encoder's input."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        input_size = input_size_of(random_sam, Crop((0, 0, width, height), 0))
        whole = Embedding(torch.zeros(0), (0, 0, width, height), 0, input_size, (height, width))
        low = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
        expected = random_sam.postprocess_masks(low, input_size, (height, width))
        assert torch.equal(upscale(random_sam, low, whole), expected)
    finally:
        torch.set_num_threads(before)


@given(st.integers(64, 400), st.integers(64, 400), st.integers(0, 2))
def test_the_whole_image_comes_first_and_layers_follow(height, width, layers):
    plan = crop_plan((height, width), layers)
    assert plan[0] == Crop((0, 0, width, height), 0)
    assert [crop.layer for crop in plan] == [n for n in range(layers + 1) for _ in range(4**n)]
    boxes = np.array([crop.box for crop in plan])
    assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
