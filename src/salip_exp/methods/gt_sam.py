"""GT-SAM, the upper bound: boxes of the target itself prompt SAM."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp.cascade.organ import usable_boxes
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods.picture import Picture
from salip_exp.methods.prediction import Prediction, Status, Stopwatch, target_of
from salip_exp.methods.sam_stages import SamStages


class GtSam:
    """Promptable mode with the tight box of every component of the target."""

    def __init__(self, config: Config, sam: SamStages) -> None:
        self.config = config
        self.sam = sam
        self.counters = sam.counters

    def predict(self, case: Case) -> Prediction:
        """Let SAM segment inside the target's boxes; without a usable box it is not asked.

        Raises:
            CaseError: E_MASK, the case has no target.
        """
        target = target_of(case, "gt_sam")
        watch = Stopwatch()
        boxes = component_boxes(target, self.config.prompt.min_component_area)
        usable = usable_boxes(boxes, target.shape)
        with watch.stage("organ"):
            mask = self.sam.organ(Picture(case.image), usable, self.config.organ)
        status = _status(target, boxes, usable)
        return Prediction(mask=mask, status=status, boxes=boxes, seconds=watch.seconds)


def component_boxes(target: NDArray[np.bool_], min_area: int) -> NDArray[np.float32]:
    """Tight boxes of the 8-connected components of at least `min_area` pixels.

    Returns:
        float32 (n, 4), x0 y0 x1 y1 with inclusive far edges.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(target.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats[1:].T
    boxes = np.stack([x, y, x + width - 1, y + height - 1], axis=1).astype(np.float32)
    large: NDArray[np.float32] = boxes[area >= min_area]
    return large


def _status(target: NDArray[np.bool_], boxes: NDArray[np.float32], usable: NDArray[np.float32]) -> Status:
    if not target.any():
        return Status.no_masks
    if not len(boxes):
        return Status.all_filtered
    return Status.ok if len(usable) == len(boxes) else Status.zero_box
