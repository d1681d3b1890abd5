"""In what the columns of a table differ: every key and every sentence, as their runs tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from salip_exp._experiments.cell_runs import Unfinished
from salip_exp._experiments.cells import Finished
from salip_exp._paper import SALIP, Table
from salip_exp._settings.differences import NONE, SENTENCE, between, cut, told_by


@dataclass(frozen=True)
class Differing:
    """A key, or a sentence, in which a column differs from the one that it is compared with.

    Attributes:
        column, beside: titles of the two.
        key: of the configuration, or `sentence`.
        theirs, own: what the other column has, and what this one has.
        rows: labels of the rows where it is so; none where it is so in all that have both.
    """

    column: str
    beside: str
    key: str
    theirs: str
    own: str
    rows: Sequence[str]


def differing(table: Table, outcomes: Mapping[tuple[str, str], Finished | Unfinished]) -> list[Differing]:
    """The differences of every column that has a result, in the order of the table."""
    against = table.against or SALIP
    beside = table.columns[against].title if against in table.columns else "SaLIP"
    told = cache(told_by)
    result = []
    for key, column in table.columns.items():
        found: dict[tuple[str, str, str], list[str]] = {}
        known = []
        for row in table.rows:
            cells = [outcomes.get((row.dataset, name)) for name in (against, key)]
            both = [told(cell.folder) for cell in cells if isinstance(cell, Finished)]
            if len(both) == 2 and both[0] is not None and both[1] is not None:
                known.append(row.label)
                for each in between(both[0], both[1]):
                    found.setdefault(each, []).append(row.label)
        result += [
            Differing(column.title, beside, *each, [] if len(labels) == len(known) else labels)
            for each, labels in found.items()
        ]
    return result


def apart(found: Sequence[Differing]) -> list[str]:
    """A line for each column: its keys with both values, and how many sentences are others; the page has all."""
    lines = []
    for column in dict.fromkeys(each.column for each in found):
        own = [each for each in found if each.column == column]
        keys = [_said(each) for each in own if each.key != SENTENCE]
        texts = [each for each in own if each.key == SENTENCE]
        new = sum(each.own != NONE for each in texts)
        keys += [f"{new} sentences of its own, and {len(texts) - new} fewer of the other's"] if texts else []
        lines.append(f"{column} differs from {own[0].beside} in {'; '.join(keys)}.")
    return lines


def _said(each: Differing) -> str:
    where = f" on {', '.join(each.rows)}" if each.rows else ""
    return f"{each.key}={cut(each.own)} (not {cut(each.theirs)}){where}"
