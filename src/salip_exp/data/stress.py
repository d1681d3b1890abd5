"""Images made worse on purpose: named corruptions in five severities, `stress=speckle:3`.

They are applied to a case as it is read, at working size, drawn with the seed and the case's id, so that the same
command gives the same pixels; severities of one corruption share what is drawn. Where the picture moves, or a part of
it is cut off, the target goes with it, and the case no longer lies on its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from salip_exp.data.case import Case
from salip_exp.plugins import resolved

Picture = NDArray[np.float64]
"""Grey levels (H, W, C) from 0 to 1."""
_Change = Callable[[Picture, float, np.random.Generator], Picture]
_SEVERITIES = range(1, 6)


@dataclass(frozen=True)
class Corruption:
    """One way in which an image gets worse.

    Attributes:
        said: what happens, and in which unit `levels` are.
        levels: of the five severities.
        change: makes it of a picture; what it leaves outside of [0, 1] is cut.
        moves: the target goes with it.
    """

    said: str
    levels: tuple[float, float, float, float, float]
    change: _Change
    moves: bool = False


CORRUPTIONS: Mapping[str, str] = {
    name: f"salip_exp.data._corruptions:{name.upper()}"
    for name in (
        *("speckle", "shadow", "gain", "bias", "ghosting", "blur"),
        *("crop", "occlusion", "inversion", "resolution", "rotation"),
    )
}
"""By name, where each is; it is imported when the first image is made worse."""


@dataclass(frozen=True)
class Stress:
    """A corruption at a severity from 1 to 5."""

    name: str
    severity: int

    def __str__(self) -> str:
        return f"{self.name}:{self.severity}"

    @property
    def said(self) -> str:
        """What happens to images, and at which level."""
        return f"{self._kind.said} {self._kind.levels[self.severity - 1]:g}"

    @property
    def turns(self) -> bool:
        """Whether what it does depends on how long the sides of the image are to each other."""
        return self.name == "rotation"

    def applied(self, case: Case, seed: int) -> Case:
        """The case with its image made worse, and where that moves its target and all that belongs to a file.

        Args:
            case: as read; its arrays are left as they are.
            seed: of what is drawn, beside the case's id.
        """
        levels = self._changed(case, case.image.astype(np.float64) / 255, seed)
        image = np.rint(255 * np.clip(levels, 0, 1)).astype(np.uint8)
        found = replace(case, image=image, stress=str(self))
        if not self._kind.moves:
            return found
        mask, touched = (self._moved(case, each, seed) for each in (case.mask, case.touched))
        return replace(found, mask=mask, touched=touched, source=None, facts={})

    @property
    def _kind(self) -> Corruption:
        found: Corruption = resolved(CORRUPTIONS[self.name])
        return found

    def _changed(self, case: Case, picture: Picture, seed: int) -> Picture:
        drawn = hashlib.sha256(f"{self.name}/{case.case_id}".encode("utf-8", "surrogatepass")).digest()
        kind = self._kind
        return kind.change(picture, kind.levels[self.severity - 1], np.random.default_rng([seed, *drawn]))

    def _moved(self, case: Case, mask: NDArray[np.bool_] | None, seed: int) -> NDArray[np.bool_] | None:
        if mask is None:
            return None
        return np.asarray(self._changed(case, mask[:, :, None].astype(np.float64), seed)[:, :, 0] >= 0.5)


def stress_of(told: str) -> Stress:
    """The stress that `stress=NAME:SEVERITY` asks for.

    Raises:
        ValueError: one sentence on what is wrong with it.
    """
    name, _, severity = told.partition(":")
    if name not in CORRUPTIONS:
        near = get_close_matches(name, CORRUPTIONS, 1, cutoff=0)
        raise ValueError(f"stress={told}: {name} is none of {', '.join(CORRUPTIONS)}: the nearest is {near[0]}")
    if severity not in map(str, _SEVERITIES):
        raise ValueError(f"stress={told}: one corruption, and a severity from 1 to 5: write stress={name}:3")
    return Stress(name, int(severity))
