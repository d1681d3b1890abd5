"""The decoder that shares what all points have in common gives the public decoder's bits, or is not used."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from salip_exp.cascade import grid_decoder
from salip_exp.cascade.grid_decoder import _is_exact, decode_grid


def official_decoder() -> Sam:
    """The decoder and prompt encoder of ViT-B, L and H, for an image of 16 x 16 tokens; no encoder."""
    torch.manual_seed(4)
    prompts = PromptEncoder(256, (16, 16), (256, 256), 16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoder(transformer_dim=256, transformer=transformer, num_multimask_outputs=3)
    return Sam(torch.nn.Identity(), prompts, decoder).eval().requires_grad_(False)


@pytest.fixture(params=["official", "random_sam"])
def net(request):
    return official_decoder() if request.param == "official" else request.getfixturevalue("random_sam")


def prompted(net: Sam, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    width, (height, breadth) = net.prompt_encoder.embed_dim, net.prompt_encoder.image_embedding_size
    features = torch.randn(1, width, height, breadth, generator=generator)
    points = 256 * torch.rand(count, 1, 2, generator=generator), torch.ones(count, 1)
    sparse, dense = net.prompt_encoder(points=points, boxes=None, masks=None)
    return features, sparse, dense


def published(net: Sam, features, sparse, dense):
    return net.mask_decoder(features, net.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=True)


@torch.no_grad()
@pytest.mark.parametrize(
    ("threads", "count"),
    [
        *[(1, 1), (2, 3), (1, 4), (2, 16), (1, 21), (2, 64)],
        *[pytest.param(*each, marks=pytest.mark.ci) for each in [(2, 1), (1, 3), (2, 4), (1, 16), (2, 21), (1, 64)]],
    ],
)
def test_logits_and_scores_have_the_public_bits(net, count, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        given = prompted(net, count)
        for ours, theirs in zip(decode_grid(net, *given), published(net, *given), strict=True):
            assert torch.equal(ours, theirs)
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_shared_arithmetic_is_the_public_one(net):
    given = prompted(net, 8)
    for ours, theirs in zip(grid_decoder._shared(net, *given), published(net, *given), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_where_bits_differ_the_public_decoder_answers(monkeypatch):
    net = official_decoder()
    given = prompted(net, 8)
    shared = grid_decoder._shared

    def off(*arguments):
        low, predicted_iou = shared(*arguments)
        return low + 1e-6, predicted_iou

    monkeypatch.setattr(grid_decoder, "_shared", off)
    assert not _is_exact(net, *given)
    for ours, theirs in zip(decode_grid(net, *given), published(net, *given), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_a_changed_decoder_is_left_to_itself():
    net = official_decoder()
    plain = net.mask_decoder.forward
    given = prompted(net, 8)
    expected = published(net, *given)
    net.mask_decoder.forward = lambda **prompts: tuple(2 * each for each in plain(**prompts))
    assert not _is_exact(net, *given)
    for ours, theirs in zip(decode_grid(net, *given), expected, strict=True):
        assert torch.equal(ours, 2 * theirs)
