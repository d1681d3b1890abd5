"""A cell: one configuration over one data set, the unit that tables and figures of a study are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from salip_exp.config import Config
from salip_exp.data.case import CaseRef
from salip_exp.methods.prediction import Method
from salip_exp.running.records import CaseRecord


@dataclass(frozen=True)
class Cell:
    """What is to be run.

    Attributes:
        dataset: the paper's name of it (`cc359`, `xray`, `hc18`), whether phantoms or real images stand for it.
        column: its key in tables and figures, e.g. `gt_sam` or `no_filter`.
        overrides: what is typed beside the data set, e.g. `method=gt_sam`; none for SaLIP as it is.
    """

    dataset: str
    column: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Finished:
    """A cell that was run.

    Attributes:
        config: as composed and checked.
        folder: its run folder.
        records: of all its cases, in the order of the data.
        refs: the same cases, to be read.
        build: the method again, around networks that are there already; what it computed lies in the stage cache.
    """

    cell: Cell
    config: Config
    folder: Path
    records: Sequence[CaseRecord]
    refs: Sequence[CaseRef]
    build: Callable[[], Method]


Cells = dict[tuple[str, str], Finished]
"""Finished cells by data set and column; what is missing or failed is not there."""
