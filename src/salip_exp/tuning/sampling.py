"""The images that a study tunes on: drawn with the seed, from every group in turn; and those that it is checked on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salip_exp.data.case import Case, CaseRef
from salip_exp.errors import CaseError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawn:
    """The tuning images, in the order of the data."""

    cases: tuple[Case, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(each.case_id for each in self.cases)


def order(refs: Sequence[CaseRef], seed: Sequence[int]) -> list[int]:
    """Positions of all references: one of every group, groups in random order, then a second of every group, ..."""
    rng = np.random.default_rng(list(seed))
    groups: dict[str, list[int]] = {}
    for position in rng.permutation(len(refs)).tolist():
        groups.setdefault(refs[position].group, []).append(position)
    names = sorted(groups)
    turns = [groups[names[i]] for i in rng.permutation(len(names)).tolist()]
    longest = max((len(each) for each in turns), default=0)
    return [each[i] for i in range(longest) for each in turns if i < len(each)]


def draw(refs: Sequence[CaseRef], n: int, seed: Sequence[int], labelled: bool) -> Drawn:
    """The first n images of the order that can be read and, where labels are needed, have a target.

    Args:
        refs: of the whole data set.
        n: how many.
        seed: of the order.
        labelled: an image without a target, or with an empty one, says nothing about a setting.

    Raises:
        DataError: there are no n such images.
    """
    found: dict[int, Case] = {}
    for position in order(refs, seed):
        if len(found) == n:
            break
        try:
            case = refs[position].load()
        except CaseError as error:
            log.warning("%s is no tuning image: %s %s", refs[position].case_id, error.code, error)
            continue
        if not labelled or (case.mask is not None and case.mask.any()):
            found[position] = case
    if len(found) < n:
        what = "images with a target" if labelled else "images that can be read"
        raise DataError(
            f"tuning.images={n} cannot be drawn: there are {len(found)} {what} among {len(refs)}; take fewer, "
            "or an objective that needs no target (tuning.objective=agreement)"
        )
    return Drawn(tuple(found[position] for position in sorted(found)))
