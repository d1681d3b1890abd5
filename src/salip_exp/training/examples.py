"""Images and targets as training holds them: all in memory, at the network's input side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from salip_exp.config import Interpolation, Resize, ResizeMode
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.resize import resize_mask
from salip_exp.errors import CaseError, DataError, TooManyFailures
from salip_exp.models.unet import squashed
from salip_exp.running.ahead import read_ahead
from salip_exp.running.identity import data_hash, fingerprint


@dataclass(frozen=True)
class Examples:
    """Every case that can be learnt from or scored.

    Attributes:
        images: uint8 (N, 3, side, side).
        targets: bool (N, 1, side, side).
        refs: of the N cases.
        left_out: (id, reason) of the others.
        sha256: over the fingerprints of the N cases.
    """

    images: Tensor
    targets: Tensor
    refs: Sequence[CaseRef]
    left_out: Sequence[tuple[str, str]]
    sha256: str

    def part(self, refs: Sequence[CaseRef]) -> tuple[Tensor, Tensor]:
        """Images and targets of some of the cases, in their order."""
        rows = {ref.case_id: row for row, ref in enumerate(self.refs)}
        chosen = torch.tensor([rows[ref.case_id] for ref in refs])
        return self.images[chosen], self.targets[chosen]


def read_examples(refs: Sequence[CaseRef], side: int, max_failed: float) -> Examples:
    """Read every case once; those without a target are left out.

    Args:
        refs: the cases.
        side: of the square input, in pixels.
        max_failed: share of them that may be unreadable, and is left out then.

    Raises:
        TooManyFailures: more are.
        DataError: none has a target.
    """
    images, targets, used, prints = [], [], [], []
    left_out: list[tuple[str, str]] = []
    failed: list[CaseError] = []
    for ref, load in read_ahead(refs):
        try:
            case = load().case
        except CaseError as error:
            failed.append(error)
            left_out.append((ref.case_id, f"{error.code}: {error}"))
            continue
        if case.mask is None:
            left_out.append((ref.case_id, "no mask"))
            continue
        image, target = example(case, side)
        images.append(image)
        targets.append(target)
        used.append(ref)
        prints.append(fingerprint(case))
    if len(failed) > max_failed * len(refs):
        raise TooManyFailures(
            f"{len(failed)} of {len(refs)} images cannot be read for training, more than max_failed={max_failed} "
            f"allows, the first being: {failed[0]}"
        )
    if not used:
        raise DataError(f"none of {len(refs)} images has a target to learn from")
    return Examples(torch.stack(images), torch.stack(targets), used, left_out, data_hash(prints))


def example(case: Case, side: int) -> tuple[Tensor, Tensor]:
    """Image uint8 (3, side, side) and target bool (1, side, side) of a case that has one."""
    assert case.mask is not None
    target = resize_mask(case.mask, Resize(ResizeMode.squash, side, Interpolation.area))
    image = np.ascontiguousarray(squashed(case.image, side).transpose(2, 0, 1))
    return torch.from_numpy(image), torch.from_numpy(np.ascontiguousarray(target))[None]
