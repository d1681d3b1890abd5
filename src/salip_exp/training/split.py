"""Who trains, who decides when to stop, who is scored: whole patients, fetuses or volumes, from every group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from salip_exp.data.case import CaseRef, Dataset
from salip_exp.data.paths import natural
from salip_exp.errors import ConfigError, DataError

PARTS = ("train", "val", "test")
REASON = "used for training"


@dataclass(frozen=True)
class Split:
    """A data set in three parts, each in the order of the data; no subject is in two of them.

    Attributes:
        train: its cases teach.
        val: they decide which epoch is kept and when training stops.
        test: they are scored, and seen by nothing before.
    """

    train: Sequence[CaseRef]
    val: Sequence[CaseRef]
    test: Sequence[CaseRef]

    @property
    def seen(self) -> tuple[str, ...]:
        """Subjects that training sees, in natural order."""
        return tuple(sorted({ref.subject for ref in (*self.train, *self.val)}, key=natural))

    def to_dict(self) -> dict[str, Any]:
        """Cases and subjects of each part, with their counts, as `split.json` holds them."""
        return {name: _described(getattr(self, name)) for name in PARTS}


def split_cases(refs: Sequence[CaseRef], val: float, test: float, seed: int) -> Split:
    """The split that a seed gives, whatever the order of the cases.

    First the test part is drawn from every group with two subjects or more, then the validation part from what is
    left: the share of its subjects, at least one. Where all groups are smaller, they are drawn from as one.

    Args:
        val: share of the subjects for validation.
        test: share of the subjects for the test.

    Raises:
        DataError: fewer subjects than parts.
    """
    groups: dict[str, set[str]] = {}
    home: dict[str, str] = {}  # a subject with cases in two groups stays whole: it counts for the first by name
    for ref in sorted(refs, key=lambda each: (each.group, natural(each.case_id))):
        groups.setdefault(home.setdefault(ref.subject, ref.group), set()).add(ref.subject)
    rng = np.random.default_rng([seed, 5])
    tested = _drawn(groups, test, rng)
    rest = {name: members - tested for name, members in groups.items()}
    validating = _drawn(rest, val / (1 - test), rng)
    teaching = set(home) - tested - validating
    if not (tested and validating and teaching):
        raise DataError(
            f"{len(home)} subjects cannot be split into train, val and test: a U-Net needs at least 3 "
            "(patients, fetuses or volumes)"
        )
    parts = [[ref for ref in refs if ref.subject in part] for part in (teaching, validating, tested)]
    return Split(*parts)


def _drawn(groups: Mapping[str, Collection[str]], share: float, rng: np.random.Generator) -> set[str]:
    """Subjects drawn from every group that can spare one."""
    pools = [sorted(members, key=natural) for _, members in sorted(groups.items()) if len(members) >= 2]
    if not pools:
        pools = [sorted((each for members in groups.values() for each in members), key=natural)]
    chosen: set[str] = set()
    for pool in pools:
        count = max(1, min(round(share * len(pool)), len(pool) - 2))  # two stay: one for each of the other parts
        chosen.update(pool[i] for i in rng.permutation(len(pool))[:count])
    return chosen


def held_out(dataset: Dataset, name: str, seen: Collection[str], subset: str | None) -> Dataset:
    """The cases that a U-Net may be scored on, the others among the excluded; another data set is left as it is.

    Args:
        name: the data set that it was trained on.
        seen: subjects that training saw.
        subset: file that the cases were chosen by, if one was.

    Raises:
        ConfigError: that file asks for cases of the training.
        DataError: nothing is left.
    """
    if dataset.name != name:
        return dataset
    used = {ref.case_id for ref in dataset.refs if ref.subject in seen}
    return without_cases(dataset, used, "images that the U-Net was trained on", REASON, subset)


def without_cases(
    dataset: Dataset, ids: Collection[str], what: str, reason: str, subset: str | None, remedy: str = ""
) -> Dataset:
    """The data set without some of its cases, each among the excluded; ids of no case are no matter.

    Args:
        ids: of the cases to leave out.
        what: they are, for errors.
        reason: of their exclusion.
        subset: file that the cases were chosen by, if one was.
        remedy: what else can be done about a file that asks for them.

    Raises:
        ConfigError: that file asks for some of them.
        DataError: nothing is left.
    """
    used = [ref.case_id for ref in dataset.refs if ref.case_id in ids]
    if used and subset is not None:
        raise ConfigError(
            f"dataset.subset={subset} holds {len(used)} {what} ({', '.join(used[:5])}): take them out of it{remedy}"
        )
    refs = [ref for ref in dataset.refs if ref.case_id not in ids]
    if not refs:
        raise DataError(f"{dataset.name}: none is left to score beside {len(used)} {what}")
    return replace(dataset, refs=refs, excluded=[*dataset.excluded, *((each, reason) for each in used)])


def _described(refs: Sequence[CaseRef]) -> dict[str, Any]:
    subjects = sorted({ref.subject for ref in refs}, key=natural)
    groups = sorted({ref.group for ref in refs})
    return {
        "n": len(refs),
        "n_subjects": len(subjects),
        "groups": {group: sum(ref.group == group for ref in refs) for group in groups},
        "cases": [ref.case_id for ref in refs],
        "subjects": subjects,
    }
