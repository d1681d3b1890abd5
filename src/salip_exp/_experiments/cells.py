"""A cell: one configuration over one data set, the unit that tables and figures are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from salip_exp._paper import SALIP, Column, columns, figure, parts, sources, table
from salip_exp._runs.records import CaseRecord
from salip_exp.config import Config
from salip_exp.data.case import CaseRef
from salip_exp.methods.base import Method
from salip_exp.methods.traits import METHODS


@dataclass(frozen=True)
class Cell:
    """What is to be run.

    Attributes:
        dataset: the paper's name of it (`cc359`, `xray`, `hc18`), whether phantoms or real images stand for it.
        column: its key in tables and figures, e.g. `gt_sam` or `no_filter`.
        overrides: what is typed beside the data set, e.g. `method=gt_sam`; none for SaLIP as it is.
        text: whose sentences it takes, `authors` or `described` (`experiment.texts`); None: those of the data set.
    """

    dataset: str
    column: str
    overrides: tuple[str, ...]
    text: str | None = None

    @property
    def name(self) -> str:
        """Of all cells of all experiments."""
        return f"{self.dataset} {self.column}"


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


def method_of(overrides: Sequence[str]) -> str:
    """The method that overrides choose, or the one that nobody has to choose."""
    return next((each.removeprefix("method=") for each in overrides if each.startswith("method=")), Config.method)


def tables_of(chosen: Sequence[str]) -> list[str]:
    """The tables among the parts, in the order of the paper."""
    return [name for name in parts() if name in chosen and not name.startswith("fig")]


def figures_of(chosen: Sequence[str]) -> list[str]:
    """The figures among the parts, in the order of the paper."""
    return [name for name in parts() if name in chosen and name.startswith("fig")]


def plan(chosen: Sequence[str]) -> list[Cell]:
    """Every cell of the parts, once; cells that share a network stand together, so that each is loaded once.

    SaLIP itself comes first, and U-Nets, which have to be trained, come last.
    """
    cells = {(cell.dataset, cell.column): cell for cell in _needed(chosen)}
    datasets = list(sources())
    return sorted(cells.values(), key=lambda cell: (_rank(cell), datasets.index(cell.dataset), cell.column != SALIP))


def _needed(chosen: Sequence[str]) -> Iterator[Cell]:
    for name in tables_of(chosen):
        found = table(name)
        wanted = dict(found.columns) if found.against is not None else {SALIP: columns()[SALIP], **found.columns}
        for row in found.rows:
            yield from (_cell(row.dataset, key, column) for key, column in wanted.items())
    for name in figures_of(chosen):
        drawn = figure(name)
        for dataset in drawn.datasets:
            yield from (_cell(dataset, key, columns()[key]) for key in drawn.columns)


def _cell(dataset: str, key: str, column: Column) -> Cell:
    return Cell(dataset, key, column.overrides, column.text)


def _rank(cell: Cell) -> tuple[int, str]:
    network = next((each for each in cell.overrides if each.startswith("sam=")), "")
    return (2, "") if METHODS[method_of(cell.overrides)].trained else (1 if network else 0, network)
