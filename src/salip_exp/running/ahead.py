"""Reading ahead: the next case is read and decoded while the networks work on this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
        coming: Future[Loaded] | None = reader.submit(_read, refs[0]) if refs else None
        try:
            for ref, following in zip(refs, [*refs[1:], None], strict=True):
                assert coming is not None  # there is one for every reference
                present = coming
                coming = reader.submit(_read, following) if following is not None else None
                yield ref, present.result
        finally:
            if coming is not None:
                coming.cancel()


def _read(ref: CaseRef) -> Loaded:
    start = time.perf_counter()
    case = ref.load()
    return Loaded(case, time.perf_counter() - start)
