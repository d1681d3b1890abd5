"""Every trial of a study on every image: what rules of choice are measured on.

python experiments/tuning/matrix.py OUT.parquet TRIALS OVERRIDES...

A study chooses among trials by a few images. To see how well, the trials of a study of five images are scored here on
up to IMAGES images: any five of them can then be the tuning images, and the others say what the choice is worth. Trials
-1 and -2 are bad starts: SAM's own defaults in the embedded SAM, and an area threshold of 0.15.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from salip_exp.runs.lab import Lab

from salip_exp._settings.compose import compose
from salip_exp._settings.tuning import AREA
from salip_exp._settings.validate import typed
from salip_exp._tuning.objectives import OBJECTIVES
from salip_exp._tuning.space import Planned, Values
from salip_exp._tuning.study import Study, draw, make_study
from salip_exp._tuning.worker import tried
from salip_exp.data.case import Case

IMAGES = 40
BAD: dict[int, Values] = {
    -1: {
        "sam.points_per_side": 32,
        "sam.pred_iou_thresh": 0.88,
        "sam.stability_score_thresh": 0.95,
        "sam.box_nms_thresh": 0.7,
    },
    -2: {AREA: 0.15},
}


def settings(study: Study, trials: int) -> dict[int, Values]:
    """By trial, the bad starts among them, which are the configured settings but for what makes them bad."""
    assert study.first is not None
    planned = Planned(study.space, study.config.seed, grid=False, first=study.first)
    found = {number: planned.values(number) for number in range(trials)}
    return found | {number: study.first | bad for number, bad in BAD.items()}


def rows(study: Study, cases: list[Case], number: int, values: Values) -> Iterator[dict[str, Any]]:
    """The scores of a trial, one row an image; they are rounded to five digits, which no choice turns on."""
    outcome = study.workbench.outcome(tried(study.config, values), cases)
    for case in cases:
        scores = {name: outcome.images[case.case_id][name] for name in OBJECTIVES}
        yield {
            "trial": number,
            **values,
            "image": case.case_id,
            "group": case.group,
            "subject": case.subject,
            **{name: None if score is None else round(score, 5) for name, score in scores.items()},
        }


def main(out: str, trials: str, *overrides: str) -> None:
    """Make the matrix of one data set and write it."""
    config = typed(compose(["task=tune", "sam=tiny", "clip=tiny", "threads=1", "cache.memory_mb=2048", *overrides]))
    with tempfile.TemporaryDirectory() as place:
        study = make_study(config, Path(place), Lab(memory_mb=512))
    refs = study.dataset.refs
    cases = list(draw(refs, min(IMAGES, len(refs)), [config.seed, -1 % 2**32], labelled=True))
    found = [row for number, each in settings(study, int(trials)).items() for row in rows(study, cases, number, each)]
    parquet.write_table(pa.Table.from_pylist(found), out, compression="zstd")


if __name__ == "__main__":
    main(*sys.argv[1:])
