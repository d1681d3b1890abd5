"""A CLIP that a library built, as the cascade asks it: text and pictures are read as its makers' files say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from salip_exp.errors import ConfigError


class Words(NamedTuple):
    """How a network reads a sentence.

    Attributes:
        read: to tokens, int64 (1, ...), cut to what the network reads.
        count: tokens of a sentence, none cut.
        context_length: tokens that the network reads.
    """

    read: Callable[[str], torch.Tensor]
    count: Callable[[str], int]
    context_length: int


class Spotted(NamedTuple):
    """What a network finds in a picture by a sentence.

    Attributes:
        boxes: float32 (N, 4), x0 y0 x1 y1 in pixels, as the library gives them.
        scores: float32 (N,), between 0 and 1.
        masks: bool (N, H, W); None from a network that draws boxes alone.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    masks: NDArray[np.bool_] | None


Spot = Callable[[Image.Image, str, float], tuple[Spotted, list[torch.Tensor]]]
"""Of a picture and a sentence, all that is found with a score above a number; and the answers that it was made of."""


class LibraryClip(torch.nn.Module):
    """The network with its tokenizer and its preprocessing, in float32.

    Args:
        net: of the library.
        encoders: of pictures, float32 (N, 3, h, w), and of tokens, (S, ...), to their embeddings, (N or S, width);
            None of a network that embeds no pictures.
        towers: what is compiled where compiling is asked for.
        words: how it reads a sentence.
        pixels: of a picture, float32 (3, h, w).
        width: of an embedding.
        segment: of pictures and embeddings of texts, (N, D), to logits of masks, (N, h, w); None without a decoder.
        spot: finds in a picture what a sentence names; None of a network that does not.
        draws: whether what it finds has masks, and not boxes alone.
    """

    dtype = torch.float32

    def __init__(
        self,
        net: torch.nn.Module,
        encoders: tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]] | None,
        towers: Sequence[torch.nn.Module],
        words: Words,
        pixels: Callable[[Image.Image], torch.Tensor],
        width: int,
        segment: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        spot: Spot | None = None,
        draws: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.encode_image, self.encode_text = encoders or (_no_embedding, _no_embedding)
        self.towers = list[torch.nn.Module](towers)
        self.words, self.pixels, self.width = words, pixels, width
        self.segment, self.spot, self.draws = segment, spot, draws

    def tokens(self, sentence: str) -> torch.Tensor:
        """A sentence as `encode_text` takes it, int64 (1, ...).

        Raises:
            ConfigError: it has more tokens than the network reads, and the library would cut it.
        """
        if self.words.count(sentence) > self.words.context_length:
            raise ConfigError(too_long(sentence, self.words.context_length))
        return self.words.read(sentence)


def _no_embedding(given: torch.Tensor) -> NoReturn:
    raise ConfigError(
        "this clip= finds what a sentence names and embeds no pictures: method=grounded_sam asks it, and the others "
        "take another, as clip=vit_l_14"
    )


def too_long(sentence: str, context_length: int) -> str:
    """What is said of a sentence that would have to be cut."""
    said = shorten(sentence, 80)
    return f"the sentence '{said}' has more than the {context_length} tokens that CLIP reads: shorten or split it."
