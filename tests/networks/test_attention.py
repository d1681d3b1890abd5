"""Relative positions in the dot product: the public encoder's numbers by plain attention."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention

from salip_exp.networks._attention import LowRankAttention, attend_by_low_rank

CLOSE = {torch.float64: 1e-12, torch.float32: 2e-5}


def with_positions(net: torch.nn.Module) -> torch.nn.Module:
    """Public modules start with relative positions of zero: these are large enough to decide who attends to whom."""
    for name, table in net.named_parameters():
        if "rel_pos" in name:
            torch.nn.init.normal_(table, std=0.5)
    return net.eval().requires_grad_(False)


def encoder(side: int, window: int, heads: int) -> torch.nn.Module:
    torch.manual_seed(side)
    shape = {"img_size": 16 * side, "embed_dim": 10 * heads, "depth": 3, "num_heads": heads, "out_chans": 8}
    net = ImageEncoderViT(**shape, use_rel_pos=True, window_size=window, global_attn_indexes=(1,))
    torch.nn.init.normal_(net.pos_embed)
    return with_positions(net)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (6, 2), (14, 14)])
@pytest.mark.parametrize(("heads", "head"), [(1, 8), (3, 5), (2, 80)])
def test_attention_equals_the_public_one(dtype, height, width, heads, head):
    torch.manual_seed(height)
    reference = with_positions(Attention(heads * head, heads, use_rel_pos=True, input_size=(height, width))).to(dtype)
    tokens = torch.randn(2, height, width, heads * head, dtype=dtype)
    expected = reference(tokens)
    low_rank = LowRankAttention(reference)
    assert (low_rank(tokens) - expected).abs().max() <= CLOSE[dtype] * expected.abs().max()
    assert all(
        each.shape[-1] % 8 == 0
        for each in low_rank.augmented(*torch.zeros(3, 1, heads, height * width, head, dtype=dtype))
    )


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("side", "window"), [(4, 0), (6, 3), (7, 3)])  # the last: windows that are filled up
def test_encoder_equals_the_public_one(dtype, side, window):
    reference = encoder(side, window, heads=2).to(dtype)
    ours = copy.deepcopy(reference)
    attend_by_low_rank(ours)
    assert sum(isinstance(each, LowRankAttention) for each in ours.modules()) == 3
    pixels = torch.randn(2, 3, 16 * side, 16 * side, dtype=dtype)
    expected = reference(pixels)
    assert (ours(pixels) - expected).abs().max() <= 10 * CLOSE[dtype] * expected.abs().max()


def test_positions_decide_in_these_tests():
    net = encoder(6, 3, heads=2)
    pixels = torch.randn(1, 3, 96, 96)
    before = net(pixels)
    for name, table in net.named_parameters():
        if "rel_pos" in name:
            table.zero_()
    assert (net(pixels) - before).abs().max() > 0.05 * before.abs().max()


def test_in_bfloat16_it_is_as_near_the_exact_as_the_public_one():
    reference = encoder(7, 3, heads=2)
    ours = copy.deepcopy(reference)
    attend_by_low_rank(ours)
    pixels = torch.randn(2, 3, 112, 112)
    exact = reference(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, published = (each(pixels).float() for each in (ours, reference))
    assert (rounded - exact).norm() < 1.2 * (published - exact).norm()


def test_an_encoder_without_relative_positions_is_left_alone():
    net = ImageEncoderViT(img_size=32, embed_dim=8, depth=1, num_heads=2, out_chans=8)
    attend_by_low_rank(net)
    assert isinstance(net.blocks[0].attn, Attention)
