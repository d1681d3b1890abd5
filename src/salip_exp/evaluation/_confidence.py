"""How good a prediction is believed to be, by what SAM says of its own candidates; no target is needed."""

from __future__ import annotations

import numpy as np

from salip_exp.cascade.pool import Pool
from salip_exp.methods.base import Prediction


def selected(prediction: Prediction) -> Pool:
    """The retrieved candidates, in the order of the pool."""
    assert prediction.pool is not None  # whoever asks has a method with a pool
    return prediction.pool.select(np.isin(prediction.pool.ids, np.asarray(prediction.selected_ids, np.int64)))


def predicted_iou(prediction: Prediction, k: int) -> float:
    """Sum of SAM's own estimate for the retrieved candidates, over k: in [0, 1], a ROI that was not found counts 0."""
    return float(np.clip(selected(prediction).predicted_iou, 0, 1).astype(np.float64).sum()) / k
