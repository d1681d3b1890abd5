"""One honest paragraph per table: whether the paper's ordering holds here, computed from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from salip_exp._experiments import ranking
from salip_exp._experiments.ladder import lost, told
from salip_exp._experiments.results import Entry, Result, comparison
from salip_exp._wording import many
from salip_exp.config import Config
from salip_exp.evaluation.statistics import Comparison

ENOUGH = 6
"""Pairs from which on a two-sided signed-rank test can reach 0.05: two volumes of one sign say little."""
SURE = 0.05
"""A p below it makes a difference clear; it is not corrected for the number of rankings."""


@dataclass
class Pair:
    """What the rows say about one ranking.

    Attributes:
        holds: rows in which it holds.
        clear: those of them in which it is `clear`.
        fails: rows in which it does not, with both scores.
        untold: rows without both.
    """

    holds: list[str] = field(default_factory=list)
    clear: list[str] = field(default_factory=list)
    fails: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)


def reading(result: Result, config: Config) -> str:
    """The paragraph of a table; empty only for a table that ranks nothing.

    Differences are means over common cases, and clear where they lie above 0 and their own p is below 0.05.
    """
    sentences = []
    if result.table.order:
        sentences += _ordering(result, config)
    if result.table.control is not None:
        sentences += _control(result, result.table.control)
    sentences += [ranking.told(each) for each in result.rankings]
    sentences += [told(each) for each in lost(result, config)]
    return " ".join(sentences)


def _ordering(result: Result, config: Config) -> list[str]:
    pairs = {pair: _pair(result, *pair, config) for pair in result.table.order}
    told = [pair for pair in pairs.values() if pair.holds or pair.fails]
    if not told:
        return ["Whether the paper's ordering holds cannot be told: no row has both scores of a pair."]
    broken = sum(bool(pair.fails) for pair in told)
    if not broken:
        partly = "" if len(told) == len(pairs) else ", as far as it can be told"
        verdict = f"The paper's ordering holds here{partly}."
    elif any(pair.holds for pair in told):
        verdict = "The paper's ordering holds here in part."
    else:
        verdict = "The paper's ordering does not hold here."
    return [verdict, *(_told(result, low, high, pair) for (low, high), pair in pairs.items())]


def _pair(result: Result, low: str, high: str, config: Config) -> Pair:
    pair = Pair()
    for row, entries in result.rows:
        found = _difference(result, entries, high, low, config)
        if found is None:
            pair.untold.append(row.label)
        elif _amount_of(found) > 0:
            pair.holds.append(row.label)
            pair.clear += [row.label] if clear(found) else []
        else:
            how = "no difference" if _amount_of(found) == 0 else f"{_amount_of(found):+.3f}{_ends(found)}"
            pair.fails.append(f"{row.label} ({how})")
    return pair


def _told(result: Result, low: str, high: str, pair: Pair) -> str:
    titles = result.table.columns
    name = f"{titles[low].title} < {titles[high].title}"
    n = len(pair.holds) + len(pair.fails)
    if not n:
        return f"{name}: not told, a score is missing."
    said = f"{name} in {len(pair.holds)} of {many(n, 'row')}, clearly in {len(pair.clear)}"
    said += f"; not in {', '.join(pair.fails)}" if pair.fails else ""
    said += f"; not told for {', '.join(pair.untold)}" if pair.untold else ""
    return f"{said}."


def _control(result: Result, control: str) -> list[str]:
    """Whether a text that has nothing to do with the organ scores like the real one."""
    title = result.table.columns[control].title
    like: list[str] = []
    lower: list[str] = []
    higher: list[str] = []
    untold: list[str] = []
    for row, entries in result.rows:
        found = entries[control].comparison
        if found is None or found.pairs < ENOUGH:
            untold.append(row.label)
            continue
        other = turned(found)
        place = lower if clear(found) else higher if clear(other) else like
        place.append(f"{row.label} ({_amount_of(other):+.3f}{_ends(other)})")
    sentences = [f"The {title} scores clearly lower than the real text on {', '.join(lower)}."] if lower else []
    if like:
        sentences.append(
            f"The {title} scores like the real text on {', '.join(like)}: there these scores do not show that the text "
            "finds the organ."
        )
    if higher:
        sentences.append(
            f"The {title} scores higher than the real text on {', '.join(higher)}: the text misleads there."
        )
    return sentences + ([f"Not told for {', '.join(untold)}."] if untold else [])


def _amount_of(found: Comparison) -> float:
    assert found.difference is not None  # there are common cases
    return found.difference


def _difference(result: Result, entries: Mapping[str, Entry], high: str, low: str, config: Config) -> Comparison | None:
    """`high` less `low` on common cases; what the table has compared already is not compared again."""
    if high == result.table.against and entries[low].comparison is not None:
        return entries[low].comparison
    known = entries[high].comparison
    if low == result.table.against and known is not None:
        return turned(known)
    return comparison(entries[high], entries[low], config)


def turned(found: Comparison) -> Comparison:
    """The comparison the other way round."""
    assert found.difference is not None and found.low is not None and found.high is not None
    return replace(found, difference=-found.difference, low=-found.high, high=-found.low)


def clear(found: Comparison) -> bool:
    """Whether the difference lies above 0, and its p below 0.05."""
    return found.difference is not None and found.difference > 0 and found.p is not None and found.p < SURE


def _ends(found: Comparison) -> str:
    return "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
