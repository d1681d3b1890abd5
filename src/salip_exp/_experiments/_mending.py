"""What repair made of the flagged cases of a pool, and how much of the organs is found before and after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from salip_exp._runs.records import CaseRecord
from salip_exp.evaluation.charges import Failure

FAR = 0.02
"""A change of DSC beyond it is one."""
MISSED = 0.5
"""An ROI of which less is predicted is missed."""


@dataclass(frozen=True)
class Mended:
    """The cases that were flagged and have a DSC with what each stage lost of it.

    Attributes:
        flagged, repaired: how many; the flagged ones are those of before.
        before, after: mean DSC.
        best: mean of the best DSC that the same candidates allow, as `method=oracle` chooses them.
        regained: share of the way from before to best that repair went; None where there is no way to go.
        better, worse: cases whose DSC changed by more than FAR.
        worst: the lowest change of DSC.
        prompts: mean number of box prompts that SAM answered for one of them; and for one of the `others`.
    """

    flagged: int
    repaired: int
    before: float
    after: float
    best: float
    regained: float | None
    better: int
    worse: int
    worst: float
    prompts: float
    others: float | None


@dataclass(frozen=True)
class Held:
    """How much of the organs predictions hold, by image.

    Attributes:
        n: cases with a target.
        precision, recall: mean share of the prediction that is target, and of the target that is predicted.
        missed: cases in which an ROI is missed.
        unflagged: of these, cases that are not flagged.
    """

    n: int
    precision: float | None
    recall: float | None
    missed: int
    unflagged: int


def mended(records: Sequence[CaseRecord]) -> Mended | None:
    """What repair made of flagged cases; None where none was flagged that has a target."""
    known = [each for each in records if each.dsc is not None and each.charges]
    flagged = [each for each in known if _flagged(each)]
    if not flagged:
        return None
    before, after, best = ([*map(one, flagged)] for one in (_before, _after, _best))
    way, changes = sum(best) - sum(before), [b - a for a, b in zip(before, after, strict=True)]
    return Mended(
        flagged=len(flagged),
        repaired=sum(each.repaired is not None for each in flagged),
        before=mean(before),
        after=mean(after),
        best=mean(best),
        regained=sum(changes) / way if way > 0 else None,
        better=sum(change > FAR for change in changes),
        worse=sum(change < -FAR for change in changes),
        worst=min(changes),
        prompts=mean(map(_prompts, flagged)),
        others=_mean([_prompts(each) for each in known if not _flagged(each)]),
    )


def held(records: Sequence[CaseRecord]) -> Mapping[str, Held]:
    """What predictions hold of the organs, `before` repair and `after` it; after alone where none was repaired."""
    known = [each for each in records if each.pixels_target and each.roi_recall is not None]
    parts: dict[str, Callable[[CaseRecord, str], float | None]] = {"before": _first, "after": _last}
    if not any(each.repaired for each in known):
        del parts["before"]
    return {name: _held(known, of, name == "before") for name, of in parts.items()} if known else {}


def _held(known: Sequence[CaseRecord], of: Callable[[CaseRecord, str], float | None], first: bool) -> Held:
    missed = [each for each in known if (share := of(each, "roi_recall")) is not None and share < MISSED]
    told = [each for each in missed if (_flagged(each) if first else each.flag is not None)]
    precision, recall = (_mean([of(each, name) for each in known]) for name in ("precision", "recall"))
    return Held(len(known), precision, recall, len(missed), len(missed) - len(told))


def _flagged(record: CaseRecord) -> bool:
    """Whether it was flagged before repair."""
    return record.flag is not None or record.repaired is not None


def _first(record: CaseRecord, name: str) -> float | None:
    return _last(record, name) if record.repaired is None else record.before.get(name)


def _last(record: CaseRecord, name: str) -> float | None:
    if name == "roi_recall":
        return record.roi_recall
    assert record.overlap is not None  # whoever has a target has its pixels
    return record.overlap.precision if name == "precision" else record.overlap.recall


def _after(record: CaseRecord) -> float:
    assert record.dsc is not None
    return record.dsc


def _before(record: CaseRecord) -> float:
    return record.before.get("dsc", _after(record))


def _best(record: CaseRecord) -> float:
    """With what the choice lost: the charges of a repaired case are those of what it has become."""
    lost = sum(record.charges.get(stage, 0.0) for stage in (Failure.clip, Failure.choice))
    return max(_before(record), _after(record) + lost)


def _prompts(record: CaseRecord) -> int:
    return record.work.get("box_decodes", 0)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return mean(known) if known else None
