"""Equation 4: the k candidates whose views are most like the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from salip_exp.cascade.pool import Pool, mask_iou
from salip_exp.cascade.work import SAME_BITS, Counters, Limits, extent, in_chunks, require_finite
from salip_exp.config import Prototype, Ties, ViewFit
from salip_exp.errors import CaseError, ConfigError, WeightsError
from salip_exp.networks._library_clip import LibraryClip, too_long
from salip_exp.networks.packages import CLIP, clip

Embedding = NDArray[np.float16] | NDArray[np.float32]
"""Of one text (D,) or of views (N, D), of length 1, in the format that CLIP computes in."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class Text(NamedTuple):
    """A set of sentences as CLIP reads it; every embedding is of length 1.

    Attributes:
        prototype: (D,), the one embedding that the sentences are averaged to.
        sentences: (S, D), that of each of them.
    """

    prototype: Embedding
    sentences: Embedding


@torch.no_grad()
def read_by(net: CLIP | LibraryClip, sentences: Sequence[str], order: Prototype, counters: Counters) -> Text:
    """An ensemble of sentences, read in one forward.

    Args:
        order: normalise each sentence before averaging (OpenAI's recipe), or average first (the authors').

    Raises:
        ConfigError: there is no sentence, or one has more tokens than CLIP reads; none is ever cut.
        WeightsError: the embedding is no number.
    """
    if not sentences:
        raise ConfigError("vdt has no sentences: give vdt.sentences=[...] or vdt.file=FILE.")
    tokens = torch.cat([_tokens(net, sentence) for sentence in sentences])
    embeddings = net.encode_text(tokens.to(_device(net)))
    counters.clip_text_forwards += 1
    each = _normalised(embeddings)
    averaged = (each if order == Prototype.normalise_first else embeddings).mean(dim=0)
    prototype: Embedding = _normalised(averaged).cpu().numpy()
    if not np.isfinite(prototype).all():  # the same for every case, so that no case is to blame
        raise WeightsError(
            "CLIP's embedding of the text is not finite: check clip.weights, and take clip.precision=float32."
        )
    return Text(prototype, each.cpu().numpy())


@torch.no_grad()
def embed_views(
    net: CLIP | LibraryClip,
    views: Sequence[NDArray[np.uint8]],
    fit: ViewFit,
    batch: int,
    counters: Counters,
    limits: Limits | None = None,
) -> Embedding:
    """Embedding of each view, of length 1, (N, D).

    Forwards are filled up to a multiple of SAME_BITS views: an embedding must not depend on its neighbours.

    Args:
        views: uint8 (h, w, 3) RGB, of any size.
        batch: views in one forward.
        limits: what fits in memory; halved where it does not, with the same embeddings.

    Raises:
        CaseError: E_NONFINITE, an embedding is no number.
    """
    pixels_of, width = input_of(net)
    limit = (limits or Limits()).views.fit(batch)

    def forward(start: int, stop: int) -> Embedding:
        pixels = torch.stack([pixels_of(fitted(view, fit)) for view in views[start:stop]])
        filled = torch.cat([pixels, pixels[:1].expand(-len(pixels) % SAME_BITS, -1, -1, -1)])
        embeddings = net.encode_image(filled.to(_device(net)))[: len(pixels)]
        counters.clip_image_forwards += 1
        counters.clip_images += len(pixels)
        unit = _normalised(embeddings).cpu()
        require_finite(extent(unit), "CLIP's embeddings of the views")
        found: Embedding = unit.numpy()
        return found

    none = np.zeros((0, width), np.float16 if net.dtype is torch.float16 else np.float32)
    return np.concatenate([none, *in_chunks(len(views), limit, forward)])


def similarities(embeddings: Embedding, prototype: Embedding) -> NDArray[np.float32]:
    """Cosine similarity of each embedding (N, D) with the prototype (D,), float32 (N,).

    That of float16 embeddings is a hundredth of the logit that CLIP gives, whose rounding to float16 makes equals.
    """
    half = embeddings.dtype == np.float16
    scaled = embeddings * np.float16(100) if half else embeddings
    # Row by row in double precision: a BLAS product may round a row by another way when there are more of them.
    products = (scaled.astype(np.float64) * prototype).sum(axis=1)
    return np.asarray(products.astype(np.float16) / np.float32(100) if half else products, np.float32)


def retrieve(
    pool: Pool, scores: NDArray[np.float32], k: int, max_overlap: float, ties: Ties = Ties.area
) -> NDArray[np.int64]:
    """Rows of the k candidates with the highest scores, best first; fewer where there are no more.

    Ties go to the larger area (unless `ties` is first), then to the lower id. A candidate whose mask overlaps a better
    pick by an IoU above `max_overlap` repeats it and is passed over.

    Raises:
        CaseError: E_SCORE, a score is not finite.
    """
    if not np.isfinite(scores).all():
        bad = int(pool.ids[np.flatnonzero(~np.isfinite(scores))[0]])
        raise CaseError("E_SCORE", f"CLIP's score of candidate {bad} is not finite: check the weights of CLIP.")
    picks: list[int] = []
    for row in ranked(pool, scores, ties):
        if len(picks) == k:
            break
        if all(mask_iou(pool.masks[row], pool.masks[pick]) <= max_overlap for pick in picks):
            picks.append(int(row))
    return np.array(picks, dtype=np.int64)


def ranked(pool: Pool, scores: NDArray[np.float32], ties: Ties) -> NDArray[np.int64]:
    """Rows of all candidates, the highest score first, those of one mask among them; ties as in `retrieve`."""
    areas = pool.areas if ties is Ties.area else np.zeros(len(pool), np.int64)
    return np.asarray(np.lexsort((pool.ids, -areas, -scores)), np.int64)


def preprocess(view: NDArray[np.uint8], side: int, fit: ViewFit) -> torch.Tensor:
    """A view as CLIP's input, float32 (3, side, side), by the steps of the `clip` package."""
    pixels: torch.Tensor = _steps(side)(fitted(view, fit))
    return pixels


def input_of(net: CLIP | LibraryClip) -> tuple[Callable[[Image.Image], torch.Tensor], int]:
    """What makes a network's input of a picture, and the width of its embeddings."""
    if isinstance(net, LibraryClip):
        return net.pixels, net.width
    return _steps(int(net.visual.input_resolution)), int(net.visual.output_dim)


def fitted(view: NDArray[np.uint8], fit: ViewFit) -> Image.Image:
    """A view as a picture: on a black square where it is padded, else as it is."""
    picture = Image.fromarray(np.ascontiguousarray(view))
    return _squared(picture) if fit == ViewFit.pad else picture


@cache
def _steps(side: int) -> Compose:
    resize = Resize(side, interpolation=InterpolationMode.BICUBIC)
    return Compose([resize, CenterCrop(side), ToTensor(), Normalize(MEAN, STD)])


def _squared(picture: Image.Image) -> Image.Image:
    """The picture centred on a black square, so that the centre crop cuts nothing off."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def _tokens(net: CLIP | LibraryClip, sentence: str) -> torch.Tensor:
    if isinstance(net, LibraryClip):
        return net.tokens(sentence)
    try:
        tokens: torch.Tensor = clip.tokenize(sentence, net.context_length)
    except RuntimeError as error:
        raise ConfigError(too_long(sentence, net.context_length)) from error
    return tokens


def _normalised(embeddings: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = embeddings / embeddings.norm(dim=-1, keepdim=True)
    return unit


def _device(net: CLIP | LibraryClip) -> torch.device:
    device: torch.device = next(net.parameters()).device
    return device
