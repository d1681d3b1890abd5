"""Who trains, who decides when to stop, who is scored: whole patients, fetuses or volumes, from every group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from salip_exp._runs._identity import Identity
from salip_exp._runs.lab import Lab
from salip_exp._runs.records import data_hash, fingerprint
from salip_exp._wording import many
from salip_exp.config import Config, Interpolation, Resize, ResizeMode, Side
from salip_exp.data._left_out import LeftOut, by_reason
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.data.datasets import without_cases
from salip_exp.data.loading import prefetched, resize_target
from salip_exp.data.paths import natural
from salip_exp.errors import CaseError, DataError, TooManyFailures
from salip_exp.networks.unet import squashed

PARTS = ("train", "val", "test")
REASON = "used for training"


@dataclass(frozen=True)
class _Split:
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


def split_cases(refs: Sequence[CaseRef], val: float, test: float, seed: int) -> _Split:
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
    return _Split(*parts)


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


@dataclass(frozen=True)
class _Examples:
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


def read_examples(refs: Sequence[CaseRef], side: int, max_failed: float) -> _Examples:
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
    for ref, load in prefetched(refs):
        try:
            case = load().case
            if case.mask is None:
                left_out.append((ref.case_id, "no mask"))
                continue
            image, target = example(case, side)
        except CaseError as error:
            failed.append(error)
            left_out.append((ref.case_id, f"{error.code}: {error}"))
            continue
        images.append(image)
        targets.append(target)
        used.append(ref)
        prints.append(fingerprint(case))
    if len(failed) > max_failed * len(refs):
        raise TooManyFailures(
            f"{len(failed)} of {many(len(refs), 'image')} cannot be read for training, more than "
            f"max_failed={max_failed} allows, the first being: {failed[0]}"
        )
    if not used:
        raise DataError(f"none of {many(len(refs), 'image')} has a target to learn from")
    return _Examples(torch.stack(images), torch.stack(targets), used, left_out, data_hash(prints))


def example(case: Case, side: int) -> tuple[Tensor, Tensor]:
    """Image uint8 (3, side, side) and target bool (1, side, side) of a case that has one.

    Raises:
        VanishedTarget: nothing of it is left at that size; learnt, it would be an image without the organ.
    """
    assert case.mask is not None
    square = Resize(ResizeMode.squash, side, Interpolation.area)
    target = resize_target(case.mask, square, case.case_id, "unet")
    image = np.ascontiguousarray(squashed(case.image, side).transpose(2, 0, 1))
    return torch.from_numpy(image), torch.from_numpy(np.ascontiguousarray(target))[None]


VERSION = 1
"""Of what a training does with its settings; a new one makes other weights of the same settings."""


@dataclass(frozen=True)
class TrainingData:
    """A data set ready to be learnt.

    Attributes:
        excluded: (id, reason) of images that are in no part.
        key: of the training, over all that its weights depend on but the machine.
        left_out: all that is in no part, by reason.
    """

    examples: _Examples
    split: _Split
    excluded: Sequence[tuple[str, str]]
    key: str
    left_out: Sequence[LeftOut] = ()

    @property
    def identity(self) -> Identity:
        """What the folder of the training is of."""
        return Identity("training", {"training": self.key}, [ref.case_id for ref in self.examples.refs])


def read_training_data(config: Config, lab: Lab) -> TrainingData:
    """Read all of the configured data set, and split it.

    Raises:
        DataError, TooManyFailures: what cannot be used.
    """
    dataset = lab.dataset(config)
    examples = read_examples(dataset.refs, config.unet.side, config.max_failed)
    split = split_cases(examples.refs, config.unet.val, config.unet.test, config.seed)
    excluded = [*dataset.excluded, *examples.left_out]
    left_out = [*by_reason(excluded), *dataset.beside]
    return TrainingData(examples, split, excluded, training_key(config, examples.sha256), left_out)


def training_key(config: Config, data: str) -> str:
    """SHA-256 over settings, seed, arithmetic and data.

    Args:
        data: SHA-256 of the data (`Examples.sha256`).
    """
    made_of = {
        "version": VERSION,
        "dataset": config.dataset.name,
        "data": data,
        "unet": {**asdict(config.unet), "weights": None},
        "flip": config.dataset.side is Side.both,
        "seed": config.seed,
        "precision": config.precision,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
