"""Smooth masks from a SAM with random weights, for benchmarks of what comes after its decoder.

Random weights give speckle, of which suppression leaves one mask: no pool, no crops for CLIP, no small regions. Here
every network computes in full, and the results of three parts of the decoder are replaced by others of the same shape:

    output_upscaling            a fixed basis of 1, x, y, x^2, y^2 and a ripple, instead of the upscaled embedding
    output_hypernetworks_mlps   for each mask the weights that make a rippled ellipse of that basis
    iou_prediction_head         scores spread between 0 and 1

An ellipse follows from its mask's token, so from prompt and image; several prompts may mean the same ellipse. Pools are
about as large as those of the embedded weights on the same images. The parts are replaced by hooks on modules that the
reference and the package's shared decoder both call, so both keep their own paths, and a bit that one computes
otherwise still shows in a score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from salip_exp.networks.packages import Sam

SHAPES = 7
"""Numbers that make a mask: centre x y, radius x y, sharpness, ripple, and whether it is empty."""
SPREAD = 0.5
"""Of the weights that turn tokens into phases: random decoders move their tokens little from prompt to prompt."""
RIPPLES = 18


def give_blobs(net: Sam) -> None:
    """Make the decoder of a SAM with random weights draw rippled ellipses."""
    decoder = net.mask_decoder
    decoder.output_upscaling[-1].register_forward_hook(_basis)
    _give_numbers(decoder, decoder.transformer_dim, lambda hook: hook)


def give_blobs_of_transformers(net: Any) -> None:
    """The same for a SamModel of transformers, whose tokens have an axis of images before that of prompts."""
    decoder = net.mask_decoder
    decoder.activation.register_forward_hook(_basis)  # after either step of the upscaling; the second one's stays
    _give_numbers(decoder, decoder.hidden_size, _Flat)


def _give_numbers(decoder: Any, width: int, as_hook: Callable[[Any], Any]) -> None:
    generator = torch.Generator().manual_seed(5)
    for number, head in enumerate(decoder.output_hypernetworks_mlps):
        weights = SPREAD * torch.randn(SHAPES, width, generator=generator)
        head.register_forward_hook(as_hook(_Ellipses(weights, scale=(0.2, 0.2, 0.3, 0.45)[number])))
    scores = SPREAD * torch.randn(decoder.num_mask_tokens, width, generator=generator)
    decoder.iou_prediction_head.register_forward_hook(as_hook(_Scores(scores)))


class _Flat:
    """A hook for tokens of any number of axes, one row after the other."""

    def __init__(self, hook: Any) -> None:
        self.hook = hook

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        rows = self.hook(module, (inputs[0].flatten(0, -2),), output.flatten(0, -2).clone())
        return rows.reshape(output.shape)


class _Ellipses:
    """Turns tokens into weights of the basis."""

    def __init__(self, weights: Tensor, scale: float) -> None:
        self.weights = weights
        self.scale = scale

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        x, y, rx, ry, sharp, ripple, empty = _numbers(inputs[0], self.weights).unbind(1)
        x, y = (0.1 + 0.8 * _rounded(each, 3) for each in (x, y))
        a, b = (self.scale * (0.25 + _rounded(each, 2)) for each in (rx, ry))
        height = 1.2 * 100 ** (sharp**2)
        one = 1 - (x / a) ** 2 - (y / b) ** 2 - 1e3 * (empty > 0.99)
        columns = [one, 2 * x / a**2, 2 * y / b**2, -1 / a**2, -1 / b**2, 0.8 * _rounded(ripple, 1)]
        output.zero_()
        output[:, : len(columns)] = (height[:, None] * torch.stack(columns, dim=1)).to(output)
        return output


class _Scores:
    """Turns the token of predicted IoU into scores that thresholds can part."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output.copy_(_numbers(inputs[0], self.weights) ** 3)


def _basis(module: torch.nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """Write the basis over the upscaled embedding (P, C, h, w)."""
    y, x = (torch.linspace(0, 1, size, device=output.device) for size in output.shape[-2:])
    x, y = x[None, :].expand(len(y), -1), y[:, None].expand(-1, len(x))
    ripple = torch.sin(RIPPLES * torch.pi * x) * torch.sin(RIPPLES * torch.pi * y)
    rows = torch.stack([torch.ones_like(x), x, y, x**2, y**2, ripple])
    output[:, len(rows) :] = 0
    output[:, : len(rows)] = rows
    return output


def _rounded(numbers: Tensor, steps: int) -> Tensor:
    """Numbers in [0, 1] to one of few values, so that several prompts mean one object, as they do to a trained SAM."""
    return torch.round(numbers * steps) / steps


def _numbers(tokens: Tensor, weights: Tensor) -> Tensor:
    """Numbers spread evenly over [0, 1], (P, n), of tokens (P, C).

    Row by row and in double precision, so that they are the same whatever the batch is.
    """
    phases = (tokens.double()[:, None, :] * weights.to(tokens.device).double()).sum(-1)
    return 0.5 + torch.asin(torch.sin(phases)) / torch.pi
