"""The terminal's tables of several runs: by group, how far each mean spreads over seeds; a row for each organ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from salip_exp._console import table
from salip_exp._reports.run_tables import cells, headed
from salip_exp._wording import over_seeds, title
from salip_exp.evaluation.scores import shown


def spread_table(spreads: Mapping[str, Any], summary: Mapping[str, Any]) -> Table:
    """A row for each group and one for all; a cell is `mean ± sd (least – most)` of the seeds' means.

    Args:
        spreads: the content of `spread.json`.
        summary: of one of the runs, for what the terminal shows.
    """
    seeds = ", ".join(str(each) for each in spreads["seeds"])
    columns = shown(summary, "terminal")
    numbers = ["seeds", *(f"{mean.title} mean ± sd (least – most)" for mean, _, _ in columns)]
    result = table(f"{title(spreads)}; seeds {seeds}", "group", *numbers, numbers=numbers)
    for group, found in spreads["spreads"].items():
        cells = [over_seeds(found[mean.name], digits) for mean, _, digits in columns]
        result.add_row(Text(group), str((found["dsc"] or {"n": 0})["n"]), *map(Text, cells))
    return result


def organ_table(found: Mapping[str, Any]) -> Table:
    """A row for each organ, over all of its groups; n is the number of cases in the means of its row.

    Args:
        found: the content of `organs.json`.
    """
    organs = found["organs"]
    first = {**found, "roi": ", ".join(organs), "overall": next(iter(organs.values()))["overall"]}
    result = headed(first, "organ", "label", "k")
    for name, each in organs.items():
        result.add_row(*map(Text, (name, str(each["label"]), str(each["k"]), *cells(each["overall"], first))))
    return result
