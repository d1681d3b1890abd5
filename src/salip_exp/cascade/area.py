"""Equation 2: candidates as large as the background are dropped before CLIP sees them."""

from __future__ import annotations

from salip_exp.cascade.pool import Pool
from salip_exp.config import AreaConfig, AreaUnit


def keep_small(pool: Pool, config: AreaConfig) -> Pool:
    """Candidates whose area is strictly smaller than the threshold (a fraction of the image, or pixels)."""
    if not config.enabled:
        return pool
    height, width = pool.masks.shape
    pixels = config.threshold * height * width if config.unit == AreaUnit.fraction else config.threshold
    return pool.select(pool.areas < pixels)
