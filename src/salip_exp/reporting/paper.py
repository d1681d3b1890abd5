"""What the paper's Table 1 gives for a group, beside which a run's own figure stands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


def paper_scores(dataset: str, group: str | None, method: str) -> tuple[float, float] | None:
    """DSC and mIoU that the paper gives, or None where it gives none.

    Args:
        dataset: as configured; phantoms stand beside the data set that they imitate.
        group: of cases; None for the whole data set.
        method: as configured.
    """
    paper = _paper()
    for row in paper["tables"]["table1"]["rows"]:
        names = paper["datasets"][row["dataset"]]
        if dataset in (names["phantoms"], names["real"]) and row.get("group") in (None, group):
            scores = row.get("paper", {}).get(method)
            return None if scores is None else (scores[0], scores[1])
    return None


@cache
def _paper() -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load(
        files("salip_exp.experiments").joinpath("paper.yaml").read_text(encoding="utf-8")
    )
    return content
