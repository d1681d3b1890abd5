"""The work of networks: counted where it is done, and cut into chunks that fit in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import torch

from salip_exp.errors import CaseError


@dataclass
class Counters:
    """Work done by the networks; every stage adds to the instance it is given.

    Attributes:
        encoder_calls: images or crops that went through SAM's image encoder.
        decoded_points: grid points that went through SAM's mask decoder.
        box_decodes: prompts of a box, or of points, that went through SAM's mask decoder.
        unprompted_decodes: images that SAM was asked about without a prompt.
        clip_image_forwards: batches that went through CLIP's image tower.
        clip_images: views in those batches.
        clip_text_forwards: batches of sentences that went through CLIP's text tower.
        unet_forwards: images that went through a U-Net.
    """

    encoder_calls: int = 0
    decoded_points: int = 0
    box_decodes: int = 0
    unprompted_decodes: int = 0
    clip_image_forwards: int = 0
    clip_images: int = 0
    clip_text_forwards: int = 0
    unet_forwards: int = 0

    def __add__(self, other: Counters) -> Counters:
        mine, theirs = self.to_dict(), other.to_dict()
        return Counters(**{name: mine[name] + theirs[name] for name in mine})

    def to_dict(self) -> dict[str, int]:
        """The counts by name, in the order of the fields."""
        return asdict(self)


_log = logging.getLogger(__name__)

Part = TypeVar("Part")

_MANY = 2**30
SAME_BITS = 4
"""Batches of a multiple of it round alike (measured on CPU): torch's matrix products take other kernels for others."""


@dataclass
class Limit:
    """How many of something are computed at once.

    Attributes:
        what: in the plural, for the message.
        size: at most so many; halved for good when memory does not suffice.
    """

    what: str
    size: int

    def fit(self, size: int) -> Limit:
        """This limit, at most at the given size."""
        self.size = min(self.size, size)
        return self

    def halve(self, tried: int) -> None:
        """Take half as many as were tried from here on, in multiples of SAME_BITS as long as it goes, and say so."""
        self.size = tried // 2 // SAME_BITS * SAME_BITS or max(1, tried // 2)
        _log.warning("out of memory: %s are computed %d at a time from here on", self.what, self.size)


@dataclass
class Limits:
    """What one network computes at once; kept from image to image, so that a lack of memory is met only once."""

    crops: Limit = field(default_factory=lambda: Limit("crop boxes", _MANY))
    points: Limit = field(default_factory=lambda: Limit("points", _MANY))
    masks: Limit = field(default_factory=lambda: Limit("masks", _MANY))
    views: Limit = field(default_factory=lambda: Limit("views", _MANY))


def in_chunks(total: int, limit: Limit, work: Callable[[int, int], Part]) -> Iterator[Part]:
    """`work(start, stop)` over all of `range(total)`, in order; a chunk that runs out of memory is done in halves.

    Raises:
        Exception: any error of `work` but a lack of memory, and that too where one alone is too much.
    """
    start = 0
    while start < total:
        stop = min(start + limit.size, total)
        try:
            part = work(start, stop)
        except Exception as error:
            if not out_of_memory(error) or stop - start == 1:
                raise
            limit.halve(stop - start)
            continue
        yield part
        start = stop


def extent(*answers: torch.Tensor) -> torch.Tensor:
    """Least and greatest value of each tensor, float (2 N,), where they were computed; NaN where one holds NaN.

    One pass without a copy, and nothing waits for a GPU here.
    """
    return torch.cat([torch.stack(each.aminmax()).float() for each in answers if each.numel()] or [torch.zeros(0)])


def require_finite(extents: torch.Tensor, what: str) -> None:
    """Refuse answers of a network that are no numbers, before a threshold makes an empty mask of them.

    Args:
        extents: of the answers (`extent`).
        what: they are, in the plural, with whose.

    Raises:
        CaseError: E_NONFINITE.
    """
    if not extents.isfinite().all():
        raise CaseError(
            "E_NONFINITE", f"{what} are not finite: check the weights, and take precision=fp32 and compile=false."
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice; on a CPU torch says so by a plain RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
