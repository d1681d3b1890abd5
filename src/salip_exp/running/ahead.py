"""Reading ahead: the next case is read and decoded while the networks work on this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from salip_exp.data.case import Case, CaseRef


@dataclass(frozen=True)
class Loaded:
    """A case with the seconds that reading it took."""

    case: Case
    seconds: float


Load = Callable[[], Loaded]
"""Waits for the case; raises what reading it raised."""


def read_ahead(refs: Sequence[CaseRef]) -> Iterator[tuple[CaseRef, Load]]:
    """Every reference, in order, with its case being read already; never more than one case ahead."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        coming = [reader.submit(_read, ref) for ref in refs[:1]]
        try:
            for position, ref in enumerate(refs):
                coming += [reader.submit(_read, following) for following in refs[position + 1 : position + 2]]
                yield ref, coming.pop(0).result
        finally:
            for each in coming:  # the caller left early
                each.cancel()


def _read(ref: CaseRef) -> Loaded:
    start = time.perf_counter()
    case = ref.load()
    return Loaded(case, time.perf_counter() - start)
