"""Which of the found cases a run takes: no doubles, images without masks by policy, subset, sample, limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from salip_exp.config import DatasetConfig, MissingMasks
from salip_exp.data.case import CaseRef, Dataset
from salip_exp.errors import DataError


@dataclass(frozen=True)
class Found:
    """What a reader found.

    Attributes:
        refs: cases with everything they need, in order.
        unmasked: cases without a mask.
        excluded: (id, reason) of images that cannot be cases.
    """

    refs: Sequence[CaseRef]
    unmasked: Sequence[CaseRef] = ()
    excluded: Sequence[tuple[str, str]] = ()


def choose(found: Found, config: DatasetConfig, seed: int) -> Dataset:
    """The data set that a run works on.

    Raises:
        DataError: two cases have one id, masks are missing under missing_masks=error, or an id of the subset is unknown.
    """
    count = len(found.refs) + len(found.unmasked) + len(found.excluded)
    excluded = list(found.excluded)
    refs = list(found.refs)
    if found.unmasked:
        if config.missing_masks is MissingMasks.error:
            names = ", ".join(ref.case_id for ref in found.unmasked[:5])
            raise DataError(
                f"{config.name}: {len(found.unmasked)} of {count} images have no mask ({names}, ...): add the masks, "
                "or leave them out with dataset.missing_masks=exclude."
            )
        if config.missing_masks is MissingMasks.predict:
            refs = [*refs, *found.unmasked]
        else:
            excluded += [(ref.case_id, "no mask") for ref in found.unmasked]
    _refuse_doubles(refs)
    if config.subset is not None:
        refs = _subset(refs, Path(config.subset))
    if config.sample is not None and config.sample < len(refs):
        picked = np.random.default_rng(seed).choice(len(refs), config.sample, replace=False)
        refs = [refs[i] for i in sorted(picked)]
    return Dataset(config.name, refs[: config.limit], excluded, count)


def _refuse_doubles(refs: Sequence[CaseRef]) -> None:
    seen: dict[str, str] = {}
    for ref in refs:
        other = seen.setdefault(ref.case_id.casefold(), ref.case_id)
        if other is not ref.case_id:
            raise DataError(f"two images have the id {ref.case_id!r} (the other is {other!r}): rename or remove one.")


def _subset(refs: Sequence[CaseRef], path: Path) -> list[CaseRef]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"dataset.subset={path} cannot be read ({error}): give a text file, one case id a line."
        ) from error
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    by_id = {ref.case_id: ref for ref in refs}
    for each in wanted:
        if each not in by_id:
            near = get_close_matches(each, by_id, 1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise DataError(f"dataset.subset={path}: there is no case {each!r}{hint}.")
    chosen = set(wanted)
    return [ref for ref in refs if ref.case_id in chosen]
