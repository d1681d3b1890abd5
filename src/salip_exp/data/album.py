"""Cases in memory, so that who asks for them again and again has them read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from salip_exp.data.case import Case, CaseRef


class Album:
    """Cases in memory, up to a bound; what does not fit is read again when it is asked for."""

    def __init__(self, limit: int) -> None:
        """limit: bytes of images and masks, of all data sets together."""
        self.left = limit

    def remembering(self, refs: Sequence[CaseRef]) -> list[CaseRef]:
        """The references of a data set, their `load` answering from memory where it can."""
        kept: dict[str, Case] = {}
        return [replace(ref, load=partial(self._load, kept, ref)) for ref in refs]

    def _load(self, kept: dict[str, Case], ref: CaseRef) -> Case:
        if ref.case_id in kept:
            return kept[ref.case_id]
        case = ref.load()
        arrays = [case.image] if case.mask is None else [case.image, case.mask]
        size = sum(each.nbytes for each in arrays)
        if size <= self.left:
            self.left -= size
            for array in arrays:  # many will be handed the same one
                array.flags.writeable = False
            kept[ref.case_id] = case
        return case
