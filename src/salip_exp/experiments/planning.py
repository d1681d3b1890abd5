"""Which cells the parts of an experiment need, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from salip_exp.experiments.cells import Cell
from salip_exp.experiments.definitions import SALIP, Column, columns, figure, parts, sources, table


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
    return Cell(dataset, key, column.overrides)


def _rank(cell: Cell) -> tuple[int, str]:
    network = next((each for each in cell.overrides if each.startswith("sam=")), "")
    return (2, "") if "method=unet" in cell.overrides else (1 if network else 0, network)
