"""Chosen cases as pictures with regions to lay over them: prediction, target, candidates."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salip_exp._runs.folder import read_pictures
from salip_exp._runs.listener import Run
from salip_exp._runs.records import CaseRecord, by_doubt, doubt_of, scored_case, scored_mask
from salip_exp._tracking.events import Layer, Picture, Pictures
from salip_exp.cascade.pool import Pool
from salip_exp.config import CacheMode
from salip_exp.data.case import Case, CaseRef
from salip_exp.errors import CaseError
from salip_exp.methods.base import Method, Prediction

log = logging.getLogger(__name__)

_BACKGROUND = {0: "background"}
MOST = 64  # candidates shown
CANDIDATES = _BACKGROUND | {number: f"candidate {number}" for number in range(1, MOST + 1)}
"""Names of regions; wandb keeps one set of names for a layer of all pictures, so none can speak of one picture."""


def pictures(run: Run) -> Pictures:
    """The cases that the run drew, `tracker.images` of them at most, the most doubtful first.

    The method is asked again for the candidates where the stage cache still has them.
    """
    config = run.config
    places = {ref.case_id: ref for ref in run.dataset.refs}
    known = {record.case_id: record for record in run.records}
    asked = run.method if config.cache.mode is CacheMode.disk else None
    drawn = read_pictures(run.folder)["figures"]
    chosen = [(str(each["rule"]), str(each["case_id"])) for each in drawn[: config.tracker.images]]
    order = doubtful_first(run)
    chosen.sort(key=lambda each: order[each[1]])
    found = (_picture(run.folder, rule, places[name], known[name], asked, config.dataset.roi) for rule, name in chosen)
    return Pictures("pictures", [each for each in found if each is not None])


def doubtful_first(run: Run) -> dict[str, int]:
    """The place of each case by its id, the most doubtful first; as in the run where no case tells of doubt."""
    measure = doubt_of(run.records, run.config.score.doubt)
    records = run.records if measure is None else by_doubt(run.records, measure)
    return {each.case_id: place for place, each in enumerate(records)}


def _picture(
    folder: Path, rule: str, ref: CaseRef, record: CaseRecord, method: Method | None, roi: str
) -> Picture | None:
    """One case; None where it can no longer be read, or is not what was scored."""
    try:
        case, mask = scored_case(ref, record), scored_mask(folder, record)
        again = method.predict(case) if method is not None and record.n_pool else None
    except CaseError as error:
        log.warning("no picture of case %s for the tracker: %s", record.case_id, error)
        return None
    return Picture(_caption(rule, record), case.image, dict(_layers(case, mask, again, roi)))


def _layers(case: Case, mask: NDArray[np.bool_], again: Prediction | None, roi: str) -> Iterator[tuple[str, Layer]]:
    yield "prediction", Layer(mask.view(np.uint8), _BACKGROUND | {1: roi})
    if case.mask is not None:
        yield "ground truth", Layer(case.mask.view(np.uint8), _BACKGROUND | {1: roi})
    if again is not None and again.pool is not None:
        yield "candidates", Layer(_numbered(again.pool, case.image.shape[:2]), CANDIDATES)
        taken = again.pool.select(np.isin(again.pool.ids, again.selected_ids)).masks
        yield "retrieved", Layer(np.any(taken.dense(), axis=0).view(np.uint8), _BACKGROUND | {1: roi})


def _numbered(pool: Pool, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The pool's masks as regions numbered from the largest on, small ones above large ones: uint8 (H, W)."""
    labels = np.zeros(shape, np.uint8)
    for number, row in enumerate(np.argsort(-pool.areas, kind="stable")[:MOST], start=1):
        labels[pool.masks[row]] = number
    return labels


def _caption(rule: str, record: CaseRecord) -> str:
    score = "no score" if record.dsc is None else f"DSC {record.dsc:.3f}"
    lost = f", lost by {record.failure}" if record.failure not in (None, "none") else ""
    return f"{rule}: {record.case_id}, {record.group}, {score}{lost}"
