"""What a method makes of a case, and how it came to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.cached_clip import ClipStages
from salip_exp.cascade.cached_sam import SamStages
from salip_exp.cascade.organ import Hint
from salip_exp.cascade.pool import Masks, Pool
from salip_exp.cascade.work import Counters
from salip_exp.config import Config, SamConfig
from salip_exp.data.case import Case
from salip_exp.errors import CaseError, EnvironmentFault
from salip_exp.networks.unet import LoadedUnet

_T = TypeVar("_T")


class Status(StrEnum):
    """How a prediction ended; every status but `ok` says why the mask is empty or may lack a ROI."""

    ok = "ok"
    no_masks = "no_masks"  # nothing to choose from: an empty pool, or an empty target for gt_sam and the oracle
    all_filtered = "all_filtered"  # nothing was left by the area filter, the views or the component size
    k_short = "k_short"  # fewer candidates than ROIs
    zero_box = "zero_box"  # a box without extent was kept from SAM


class Prompted(Protocol):
    """SAM's mask for each of some boxes of an image."""

    def __call__(self, boxes: NDArray[np.float32], *, hints: Sequence[Hint] | None = None) -> Masks:
        """Of float32 (n, 4), and what it is told beside each."""
        ...


_Retouch = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""An image, uint8 (H, W, 3), with everything in its place and other grey values."""


@dataclass(frozen=True)
class Prediction:
    """The mask of a case with everything that attribution and pictures need.

    Attributes:
        mask: bool (H, W).
        status: one of Status.
        pool: all candidates, before any filter; None for methods without a pool.
        kept_ids: int64 (M,), ids of the candidates that CLIP scored (or the oracle).
        kept_scores: float32 (M,), similarity with the text (oracle: IoU of what their boxes prompt with the target).
        selected_ids: ids of the retrieved candidates, best first.
        selected_scores: their scores.
        boxes: float32 (n, 4), x0 y0 x1 y1 with inclusive far edges: of the retrieved candidates or, for gt_sam, the
            prompts. Those without extent are listed too, though SAM never sees them.
        seconds: by stage.
        sentence_scores: float32 (S, M), similarity of each with every sentence; no rows where CLIP was not asked.
        contrast_scores: float32 (C, M), similarity of each with every sentence of something else; no rows without.
        prompted: of this image, as the last stage asks for it; None for a method that has no such stage.
        again: the prediction of this image with other settings of segment-everything mode; None where there is no such.
        retouched: as `prompted`, of this image after a change of its grey values; None where `prompted` is.
    """

    mask: NDArray[np.bool_]
    status: Status
    pool: Pool | None = None
    kept_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    kept_scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    selected_ids: list[int] = field(default_factory=list)
    selected_scores: list[float] = field(default_factory=list)
    boxes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    seconds: dict[str, float] = field(default_factory=dict)
    sentence_scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    contrast_scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    prompted: Prompted | None = None
    again: Callable[[SamConfig], Prediction] | None = None
    retouched: Callable[[_Retouch], Prompted] | None = None


def target_of(case: Case, method: str) -> NDArray[np.bool_]:
    """The target of a case, for a method that cannot do without; raises CaseError E_MASK where there is none."""
    if case.mask is None:
        message = f"{case.case_id} has no target mask, which method={method} needs: use another method."
        raise CaseError("E_MASK", message)
    return case.mask


class Method(Protocol):
    """Anything that turns a case into a prediction.

    Attributes:
        counters: the networks' work since the method was built.
    """

    counters: Counters

    def predict(self, case: Case) -> Prediction:
        """The prediction of one case; raises CaseError where there can be none."""
        ...


class Networks:
    """What a method is built around: the networks that its traits ask for, and no others.

    Attributes:
        counters: of the networks' work; a method hands them on as its own.
        sentences: the text, where CLIP is asked for.
    """

    def __init__(
        self,
        counters: Counters,
        sam: SamStages | None = None,
        clip: ClipStages | None = None,
        unet: LoadedUnet | None = None,
        sentences: Sequence[str] = (),
    ) -> None:
        self.counters = counters
        self.sentences = sentences
        self._sam, self._clip, self._unet = sam, clip, unet

    @property
    def sam(self) -> SamStages:
        """SAM with a memory; raises EnvironmentFault where the traits do not ask for it, as the others do."""
        return _asked(self._sam, "sam")

    @property
    def clip(self) -> ClipStages:
        """CLIP with a memory."""
        return _asked(self._clip, "clip")

    @property
    def unet(self) -> LoadedUnet:
        """The trained U-Net."""
        return _asked(self._unet, "trained")


def _asked(network: _T | None, trait: str) -> _T:
    if network is None:
        raise EnvironmentFault(f"the method was built without a network that it uses: its traits must say {trait}=True")
    return network


Build = Callable[[Config, Networks], Method]

"""Makes a method; what it is given holds as many networks as its traits ask for."""
