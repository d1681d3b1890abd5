"""What every reader yields: cases, lazily, by reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from salip_exp.config import Axis
from salip_exp.data._left_out import LeftOut, Taken, by_reason
from salip_exp.errors import CaseError


@dataclass(frozen=True)
class Source:
    """Where a case was read, and what leads a prediction back there.

    A prediction at working size is resized to `size`. A picture's lies upright on it then; one of a volume is slice
    `Case.slice` along `axis` of what `volumes.read_grid(image)` gives, whose `uncut` puts slices where the file has
    them.

    Attributes:
        image: the file; of a series in many files, the folder or the first of them that the reader was given.
        mask: the file, or None where there is none.
        size: rows and columns of the upright picture or slice before resizing.
        axis: plane that the volume was cut in, or None for a picture.
        mirrored: the slice was (dataset.volume.display=radiological), and `uncut` is to be told.
    """

    image: Path
    mask: Path | None
    size: tuple[int, int]
    axis: Axis | None = None
    mirrored: bool = False


@dataclass(frozen=True)
class Case:
    """One 2-D image to segment.

    Attributes:
        case_id: unique within the data set; for volumes `<volume>/<axis>_<slice>`.
        group: what results are averaged by, e.g. `GE 1.5`.
        image: uint8 (H, W, 3) RGB after resizing.
        mask: bool (H, W) target, or None where the data set has none.
        spacing: millimetres per pixel (row, column) after resizing, or None where unknown.
        subject: unit of splitting (patient, fetus, volume).
        volume: volume the slice is cut from, or None for 2-D data.
        slice: index along the slice axis, or None.
        facts: numbers the data set gives, e.g. `head_circumference_mm`.
        notes: what the reader did that a user should know (alpha dropped, outline filled, ...).
        source: where it was read; None of cases that no file has.
        touched: bool (H, W), where the resized mask is not zero, before it is cut; None unless it is resized first.
        stress: how its image was made worse (`data.stress`); None: it was not.
    """

    case_id: str
    dataset: str
    group: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    spacing: tuple[float, float] | None
    subject: str
    volume: str | None = None
    slice: int | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Source | None = None
    touched: NDArray[np.bool_] | None = None
    stress: str | None = None


@dataclass(frozen=True)
class CaseRef:
    """A case not read yet: its identity, and `load()` which reads it (raises CaseError)."""

    case_id: str
    group: str
    subject: str
    load: Callable[[], Case]
    volume: str | None = None
    slice: int | None = None


class SliceRefs(list[CaseRef]):
    """References to the slices that are taken of one volume, and what became of its others (None: not known)."""

    taken: Taken | None = None


def failing(error: CaseError) -> Callable[[], Case]:
    """A load that raises what was found before loading, so that the run counts the case as failed."""
    return partial(_fail, error.code, str(error))


def _fail(code: str, message: str) -> NoReturn:
    raise CaseError(code, message)


@dataclass(frozen=True)
class Dataset:
    """A data set as an ordered sequence of case references.

    Attributes:
        name: configured name, e.g. `hc18`.
        refs: the cases, in a fixed order (natural order of ids).
        excluded: (id, reason) of images found but left out, e.g. without a mask.
        found: number of images found before exclusion and selection; volumes past `limit` are not looked into.
        beside: what else lies there and is not run on: files of other kinds, slices, cases that were not chosen.
    """

    name: str
    refs: Sequence[CaseRef]
    excluded: Sequence[tuple[str, str]] = ()
    found: int = 0
    beside: Sequence[LeftOut] = ()

    @property
    def left_out(self) -> list[LeftOut]:
        """All that is not run on, by reason: what terminal, tables, pages, checks and manifests tell."""
        return [*by_reason(self.excluded), *self.beside]


class CaseMemory:
    """Cases in memory, up to a bound; what does not fit is read again when it is asked for."""

    def __init__(self, limit: int) -> None:
        """limit: bytes of images and masks, of all data sets together."""
        self.left = limit

    def remembering(self, refs: Sequence[CaseRef]) -> list[CaseRef]:
        """The references of a data set, their `load` answering from memory where it can."""
        kept: dict[str, Case] = {}
        return [replace(ref, load=partial(self._load, kept, ref)) for ref in refs]

    def _load(self, kept: dict[str, Case], ref: CaseRef) -> Case:
        if ref.case_id in kept:
            return kept[ref.case_id]
        case = ref.load()
        arrays = [each for each in (case.image, case.mask, case.touched) if each is not None]
        size = sum(each.nbytes for each in arrays)
        if size <= self.left:
            self.left -= size
            for array in arrays:  # many will be handed the same one
                array.flags.writeable = False
            kept[ref.case_id] = case
        return case
