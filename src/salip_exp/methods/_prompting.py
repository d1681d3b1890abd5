"""The last stage of methods that have boxes and no pool of candidates."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture, SamStages
from salip_exp.cascade.organ import usable_boxes
from salip_exp.config import Config
from salip_exp.methods.base import Prediction, Status


def prompted(
    sam: SamStages, picture: Picture, boxes: NDArray[np.float32], config: Config, watch: Stopwatch
) -> Prediction:
    """What SAM segments inside boxes, float32 (n, 4); without any it is not asked."""
    with watch.stage("organ"):
        mask = sam.organ(picture, boxes, config.organ)
    asked = partial(sam.organs, picture, config=config.organ)
    return Prediction(mask, _status(boxes, picture, config), boxes=boxes, seconds=watch.seconds, prompted=asked)


def _status(boxes: NDArray[np.float32], picture: Picture, config: Config) -> Status:
    if not len(boxes):
        return Status.no_masks
    if len(usable_boxes(boxes, picture.size)) < len(boxes):
        return Status.zero_box
    return Status.ok if len(boxes) == config.dataset.k else Status.k_short
