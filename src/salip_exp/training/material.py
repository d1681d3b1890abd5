"""What a training is made from, and the key that two trainings share when they end in the same weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from salip_exp.config import Config, Side
from salip_exp.data.registry import open_dataset
from salip_exp.training.examples import Examples, read_examples
from salip_exp.training.split import Split, split_cases

VERSION = 1
"""Of what a training does with its settings; a new one makes other weights of the same settings."""


@dataclass(frozen=True)
class Material:
    """A data set ready to be learnt.

    Attributes:
        excluded: (id, reason) of images that are in no part.
        key: of the training, over all that its weights depend on but the machine.
    """

    examples: Examples
    split: Split
    excluded: Sequence[tuple[str, str]]
    key: str


def gather(config: Config) -> Material:
    """Open the configured data set, read all of it, and split it.

    Raises:
        DataError, TooManyFailures: what cannot be used.
    """
    dataset = open_dataset(config.dataset, config.seed)
    examples = read_examples(dataset.refs, config.unet.side, config.max_failed)
    split = split_cases(examples.refs, config.unet.val, config.unet.test, config.seed)
    return Material(examples, split, [*dataset.excluded, *examples.left_out], training_key(config, examples.sha256))


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
