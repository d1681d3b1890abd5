"""Reverse classification accuracy: what a prediction is worth to the labelled images of others.

A segmenter made of one image and its predicted mask alone is tried on references whose masks are known; where it does
well on any of them, the prediction was good (Valindria et al., IEEE TMI 2017, https://arxiv.org/abs/1702.03407). Theirs
that did best registers the image to each reference and carries its mask over; here dense inverse search optical flow
does that (Kroeger et al. 2016, OpenCV's). It uses labels: a rival to measure by, and no part of any confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.config import EmptyTarget
from salip_exp.evaluation.metrics import dice

_SIDE = 128
"""Of the square that images are registered in."""


@dataclass(frozen=True)
class Reference:
    """A labelled image, small.

    Attributes:
        subject: it is none for other images of this subject.
        image: uint8 (128, 128), grey.
        mask: bool (128, 128), its target.
    """

    subject: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def reference_of(subject: str, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Reference:
    """An image (H, W, 3) with a mask (H, W), as it is registered."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    share = cv2.resize(mask.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Reference(subject, np.asarray(small, np.uint8), np.asarray(share >= 0.5))


def reverse_accuracy(predicted: Reference, references: Sequence[Reference]) -> float | None:
    """The best DSC of a prediction that is carried over to references of other subjects, in [0, 1].

    Args:
        predicted: an image with its predicted mask.
        references: with their targets.

    Returns:
        None where there is no reference of another subject.
    """
    others = [each for each in references if each.subject != predicted.subject]
    scores = [dice(_carried(predicted, each), each.mask, EmptyTarget.zero) for each in others]
    return max(scores, default=None)


def _carried(source: Reference, to: Reference) -> NDArray[np.bool_]:
    """The mask of an image as it lies in another."""
    still = np.zeros((_SIDE, _SIDE, 2), np.float32)
    flow = np.asarray(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(to.image, source.image, still))
    rows, columns = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    places = columns + flow[..., 0], rows + flow[..., 1]
    return np.asarray(cv2.remap(source.mask.astype(np.float32), *places, cv2.INTER_LINEAR) >= 0.5)
