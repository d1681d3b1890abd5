"""What `SaLIP` makes of an image."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from salip_exp.cascade.pool import Pool
from salip_exp.config import Resize
from salip_exp.data.loading import native_mask
from salip_exp.errors import ConfigError

_BLUE, _AMBER = (0.0, 0.62, 0.45), "#ffc400"


@dataclass(frozen=True, repr=False)
class Segmentation:
    """The prediction of one image, with how it came about.

    Attributes:
        image: uint8 (H, W, 3), the image as it was read, before resizing.
        mask: bool (H, W), the organ, at the size of the image.
        status: `ok`, or why the mask is empty or may lack a part: `no_masks`, `all_filtered`, `k_short`, `zero_box`.
        boxes: float32 (n, 4), the boxes that SAM was prompted with: x0 y0 x1 y1 in pixels of the image, far edges
            inclusive.
        candidates: a row for each candidate of SAM: its number, whether CLIP saw it (`kept`) and it was `selected`,
            its `score` (likeness with the text) and `sentence_1`, ... (with each sentence, `attrs["sentences"]` has
            them), its box `x0`, `y0`, `x1`, `y1` and `area` in pixels at working size, SAM's `predicted_iou` and
            `stability`. Empty for methods without candidates.
        confidence: how good the prediction is believed to be, without a target: `confidence`, the DSC to expect,
            `dsc_at_least`, what it exceeds in 90 % of cases like those that this was calibrated on
            (`confidence__level`), and the signals that they are made of: `stability` (Dice with the masks of boxes
            moved by 5 %), `predicted_iou` (SAM's own), `agreement` (Dice of candidates and final mask), `margin` (of
            CLIP's scores) and others, each better when higher. Empty for methods without candidates.
        flag: the stage that is doubted where the confidence is low: `everything`, `retrieval`, `duplicate`, `prompt` or
            `text`; None where it is not.
        reason: the same in words; empty where there is no flag.
        seconds: by stage.
        notes: what was done to the image that a user should know (alpha dropped, windowed from 16 bit, ...).
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    status: str
    boxes: NDArray[np.float32]
    candidates: pd.DataFrame
    confidence: Mapping[str, float]
    flag: str | None
    reason: str
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    _pool: Pool | None = field(repr=False)
    _resize: Resize = field(repr=False)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        said = "".join(f", {name} {value:.3f}" for name, value in self.confidence.items())
        return (
            f"<Segmentation {width} x {height}, {int(self.mask.sum())} pixels, {self.status}, "
            f"{len(self.candidates)} candidates{said}{f', flagged: {self.flag}' if self.flag else ''}>"
        )

    def candidate(self, number: int) -> NDArray[np.bool_]:
        """The mask of a candidate by its number in `candidates`, bool (H, W) at the size of the image.

        Raises:
            ConfigError: there is none of that number.
        """
        rows = [] if self._pool is None else np.flatnonzero(self._pool.ids == number).tolist()
        if self._pool is None or not rows:
            raise ConfigError(f"there is no candidate {number}: the column `candidate` of candidates has their numbers")
        return native_mask(self._pool.masks[rows[0]], (self.mask.shape[0], self.mask.shape[1]), self._resize)

    def plot(self) -> Figure:
        """The image with the mask laid over it and the boxes of the prompts; no window shows the figure by itself."""
        height, width = self.mask.shape
        figure = Figure(figsize=(6 * min(1, width / height), 6 * min(1, height / width)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(self.image)
        axes.imshow(np.where(self.mask[..., None], (*_BLUE, 0.35), 0.0))
        if self.mask.any() and not self.mask.all():
            axes.contour(self.mask, levels=[0.5], colors=[_BLUE], linewidths=1.5)
        for x0, y0, x1, y1 in self.boxes.tolist():
            axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1, fill=False, color=_AMBER, ls="--"))
        axes.set_axis_off()
        return figure

    def _repr_png_(self) -> bytes:
        """The plot, for a notebook."""
        stream = io.BytesIO()
        self.plot().savefig(stream, format="png")
        return stream.getvalue()
