"""A grown network computes what the smaller one does, and its further blocks can learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from salip_exp.networks._embedded.networks import WORDS, build_clip, build_sam
from tools.embedded.growth import grow


def answer(net: Any) -> torch.Tensor:
    torch.manual_seed(3)
    encode, side = (net.image_encoder, 256) if hasattr(net, "image_encoder") else (net.encode_image, 64)
    return encode(torch.randn(1, 3, side, side))


@pytest.mark.parametrize("build", [build_sam, build_clip])
def test_a_grown_network_answers_as_the_smaller_one_and_every_block_of_it_can_learn(build: Callable[..., Any]) -> None:
    torch.manual_seed(1)
    small, grown = build("tiny"), build("small")
    grow(grown, small.state_dict())
    blocks = len(grown.state_dict()) - len(small.state_dict())
    assert blocks > 0
    torch.testing.assert_close(answer(grown), answer(small), rtol=0, atol=0)
    answer(grown).sum().backward()
    still = [
        n
        for n, p in grown.named_parameters()
        if "blocks" in n and "proj.bias" in n and p.grad is not None and not p.grad.any()
    ]
    assert not still


def test_words_that_were_never_trained_keep_the_row_they_begin_with() -> None:
    trained, grown = build_clip("tiny"), build_clip("small")
    state = trained.state_dict()
    state[WORDS][1:] = 0
    own = grown.state_dict()[WORDS].clone()
    grow(grown, state)
    torch.testing.assert_close(grown.state_dict()[WORDS][0], state[WORDS][0], rtol=0, atol=0)
    torch.testing.assert_close(grown.state_dict()[WORDS][1:], own[1:], rtol=0, atol=0)


def test_networks_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="no smaller network of the same kind"):
        grow(build_sam("tiny"), build_sam("small").state_dict())
