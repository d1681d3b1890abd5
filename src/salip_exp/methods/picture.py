"""An image as the stages share it: its pixels, and the key of what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from salip_exp.caching.keys import content_key


@dataclass(frozen=True)
class Picture:
    """An image after resizing, uint8 (H, W, 3)."""

    image: NDArray[np.uint8]

    @cached_property
    def key(self) -> str:
        """Key of the pixels: two cases with one picture share all that is computed from it."""
        return content_key(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image.shape[0], self.image.shape[1]
