"""From what a reader read to the case that methods see: checked, resized, coloured, of one side as configured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Channels, DatasetConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.resize import resize_image, resize_mask, resized_spacing
from salip_exp.data.sides import one_side
from salip_exp.errors import CaseError


def finish(
    ref: CaseRef,
    config: DatasetConfig,
    path: Path,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    spacing: tuple[float, float] | None = None,
    facts: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> Case:
    """The case of a reference.

    Args:
        path: of the image, for messages.
        image: uint8 (H, W, 3) RGB as read.
        mask: bool (H, W) as read, or None.
        spacing: millimetres per pixel as read.

    Raises:
        CaseError: E_SHAPE, the mask is not of the image's size; it is never stretched to it.
    """
    if mask is not None and mask.shape != image.shape[:2]:
        raise CaseError("E_SHAPE", f"{path}: the image is {image.shape[:2]} pixels, its mask {mask.shape}.")
    resized = resize_image(image, config.resize)
    if config.channels is Channels.bgr:
        resized = np.ascontiguousarray(resized[:, :, ::-1])
    if image.min() == image.max():
        notes = (*notes, "constant image")
    return Case(
        case_id=ref.case_id,
        dataset=config.name,
        group=ref.group,
        image=resized,
        mask=None if mask is None else one_side(resize_mask(mask, config.resize), config.side),
        spacing=resized_spacing(spacing, (image.shape[0], image.shape[1]), (resized.shape[0], resized.shape[1])),
        subject=ref.subject,
        volume=ref.volume,
        slice=ref.slice,
        facts=dict(facts or {}),
        notes=notes,
    )
