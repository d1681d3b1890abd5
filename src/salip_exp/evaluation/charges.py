"""The stages that can lose a case, and how what it lacks is shared out among them; without any network."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

LOST = 0.1
"""A stage that loses more DSC than this has lost the case."""


class Failure(StrEnum):
    """The stage that lost most of a case; `evaluation.attribution` has the rule."""

    none = "none"
    sam = "sam"
    filter = "filter"
    clip = "clip"
    duplicate = "duplicate"
    choice = "choice"
    prompt = "prompt"


WHY: Mapping[str, str] = {
    Failure.sam: "no candidate of SAM fits the target; more points or lower thresholds may propose one",
    Failure.filter: "candidates that fit the target were dropped; a larger area may let them through",
    Failure.clip: "candidates that fit the target were less like the sentences than others; try other sentences",
    Failure.duplicate: "one thing was taken twice; sentences that tell the parts apart may help",
    Failure.choice: "candidates that fit the target were there, and the method took others",
    Failure.prompt: "even the best boxes there are make SAM draw something else; try a box of your own",
}
"""What a stage lost a case by, and what may help."""
STAGES = (Failure.prompt, Failure.sam, Failure.filter, Failure.clip, Failure.choice)
"""What can be charged, along the chain."""


def charged(reached: Mapping[str, float]) -> dict[str, float]:
    """What each stage loses, none of it negative: together 1 less the DSC that was got.

    What comes of later stages was in reach before: a value below a later one counts as that one.

    Args:
        reached: the highest DSC that is in reach after each stage, along the chain; the last is what was got.
    """
    values = np.maximum.accumulate([*reached.values()][::-1])[::-1]
    lost = np.array([1.0, *values[:-1]]) - values
    return dict(zip(map(str, reached), lost.tolist(), strict=True))


def lost_by(charges: Mapping[str, float]) -> Failure:
    """The stage with the largest charge, the first of the chain where several are; `none` up to LOST."""
    stage = max(charges, key=lambda each: charges[each])
    return Failure(stage) if charges[stage] > LOST else Failure.none
