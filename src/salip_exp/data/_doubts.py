"""What the targets of a data set say about its settings: another number of organs, inverted or full masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from salip_exp._wording import many
from salip_exp.config import AreaConfig, AreaUnit, DatasetConfig, Side
from salip_exp.data._left_out import LeftOut, left_out
from salip_exp.data._regions import components
from salip_exp.data.case import Case

_PART = 0.25
"""Share of the largest part's area that another one must have to count."""
_MOST = 8
"""Parts that are counted."""
_HALF = 0.5
_SQUASHED = 2.0
"""Times that pixels may be longer than wide, or wider than long, before pictures look squashed to the networks."""
_FULL = 0.99


@dataclass
class Doubts:
    """Targets, as they go by.

    Attributes:
        dataset: its settings.
        area: the area filter; None where the method has none.
        pair: the text describes an organ that comes in pairs.
        untold: how many cases have no target, or an empty one.
        squashed: how many cases are slices whose pixels are far from square, and the sides in mm of the last.
        parts: how many targets have so many parts of similar size.
        inverted, full, dropped: ids of cases whose targets hold most of the border and more than half of the image,
            all of it, or more than `area.threshold` lets through.
    """

    dataset: DatasetConfig
    area: AreaConfig | None
    pair: bool = False
    untold: int = 0
    squashed: int = 0
    sides: tuple[float, float] = (1.0, 1.0)
    parts: Counter[int] = field(default_factory=Counter)
    inverted: list[str] = field(default_factory=list)
    full: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def see(self, case: Case) -> None:
        """Look at a case; one without a target, or with an empty one, says nothing but its pixels' sides."""
        if case.volume is not None and case.spacing and max(case.spacing) > _SQUASHED * min(case.spacing):
            self.squashed, self.sides = self.squashed + 1, case.spacing
        if case.mask is None or not case.mask.any():
            self.untold += 1
            return
        sizes = components(case.mask, _MOST).sum(axis=(1, 2))
        self.parts[int((sizes >= _PART * sizes[0]).sum())] += 1
        share = float(case.mask.mean())
        edges = case.mask[0], case.mask[-1], case.mask[:, 0], case.mask[:, -1]
        if share > _FULL:
            self.full.append(case.case_id)
        elif share > _HALF and min(edge.mean() for edge in edges) > _HALF:
            self.inverted.append(case.case_id)
        elif self.area is not None and self.area.enabled:
            unit = case.mask.size if self.area.unit is AreaUnit.fraction else 1
            if sizes[0] / unit > self.area.threshold:
                self.dropped.append(case.case_id)

    def to_dict(self) -> dict[str, Any]:
        """What was seen, for `add`."""
        return {"parts": dict(self.parts), "inverted": self.inverted, "full": self.full, "dropped": self.dropped}

    def add(self, seen: Mapping[str, Any]) -> None:
        """Take in what somebody else saw, as `to_dict` or JSON has it."""
        self.parts.update({int(parts): n for parts, n in seen["parts"].items()})
        for name in ("inverted", "full", "dropped"):
            getattr(self, name).extend(seen[name])

    def told(self) -> Iterator[LeftOut]:
        """What is to be looked at, each in a sentence with what to do."""
        yield from self._k()
        if self.squashed:
            tall, wide = self.sides
            what = f"{many(self.squashed, '[slice is|slices are]')} of pixels as large as {tall:.2g} x {wide:.2g} mm"
            why = ": organs look squashed there; another dataset.volume.axis may cut the volume as it was taken"
            yield LeftOut("doubt", self.squashed, what, why)
        if self.full:
            yield left_out(
                "doubt", self.full, "[target fills its image|targets fill their images]", ": look at the masks"
            )
        if self.inverted:
            why = ": where background is marked instead of the organ, dataset.files.label=N chooses the organ's number"
            what = "[target holds|targets hold] more than half of [its|their] image and its border"
            yield left_out("doubt", self.inverted, what, why)
        if self.dropped and self.area is not None:
            why = (
                f": area.threshold={self.area.threshold:g} drops such candidates; raise it, or add +ablation=no_filter"
            )
            what = "[target is|targets are] larger than the area filter lets through"
            yield left_out("doubt", self.dropped, what, why)

    def _k(self) -> Iterator[LeftOut]:
        """Whether most targets have another number of parts than `dataset.k`; without targets, what the text says."""
        seen, k = self.parts.total(), self.dataset.k
        if not seen and self.pair and not self.dataset.absent and k == 1 and self.dataset.side is Side.both:
            why = ", and dataset.k=1 looks for one: dataset.k=2 finds both"
            yield LeftOut("doubt", self.untold, "the text is that of an organ that images hold a pair of", why)
        parts, n = max(self.parts.items(), key=lambda each: (each[1], -each[0]), default=(k, 0))
        if parts in (k, _MOST) or 2 * n <= seen or self.dataset.side is not Side.both:
            return
        one = ", or dataset.side=left or right of the two with dataset.k=1" if parts == 2 else ""
        pieces = "in one piece" if parts == 1 else f"in {parts} parts of similar size"
        what = f"{n} of {many(seen, '[target is|targets are]')} {pieces}"
        yield LeftOut(
            "doubt", n, what, f", and dataset.k={k} looks for {k}: dataset.k={parts} fits{one if k == 1 else ''}"
        )
