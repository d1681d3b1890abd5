"""A deeper network that begins as a smaller, trained one: the further blocks add nothing until they are trained.

A block adds its answer to what it is given, so that one whose last layers are zero hands it on as it is (as Net2Net's
deeper nets and zero-initialised residual branches do).
"""

from __future__ import annotations

import re

import torch
from torch import nn

from salip_exp.networks._embedded.networks import WORDS, State

_BLOCK = re.compile(r"(?P<tower>image_encoder\.blocks|visual\.transformer\.resblocks)\.(?P<number>\d+)\.(?P<rest>.+)")
_LAST = ("attn.proj", "mlp.lin2", "attn.out_proj", "mlp.c_proj")
"""Layers with which a block of SAM's or CLIP's adds to its input."""


def grow(net: nn.Module, trained: State) -> None:
    """Give `net` the weights of a trained network of the same kind with fewer blocks: it then computes the same.

    Further blocks are copies of the last one with their last layers zero. Words without a trained row keep their own.

    Raises:
        ValueError: the two differ by more than their blocks.
    """
    last = max((int(found["number"]) for found in map(_BLOCK.fullmatch, trained) if found), default=-1)
    state = net.state_dict()
    unlike = [name for name in trained if name not in state or state[name].shape != trained[name].shape]
    if unlike or last < 0:
        raise ValueError(f"no smaller network of the same kind: {', '.join(unlike) or 'no blocks'}")
    net.load_state_dict({name: _begin(name, own, trained, last) for name, own in state.items()})


def _begin(name: str, own: torch.Tensor, trained: State, last: int) -> torch.Tensor:
    if name == WORDS:
        return torch.where(trained[name].any(dim=1, keepdim=True), trained[name], own)
    found = _BLOCK.fullmatch(name)
    if found is None or int(found["number"]) <= last:
        return trained[name]
    if found["rest"].startswith(_LAST):
        return torch.zeros_like(own)
    return trained[f"{found['tower']}.{last}.{found['rest']}"]
