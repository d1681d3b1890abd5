"""The loop over cases: read, reuse or predict, score, and put the record on disk before the next one."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from salip_exp._files import png
from salip_exp.cascade.work import out_of_memory
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.loading import Load, read_ahead
from salip_exp.errors import CaseError, SalipError
from salip_exp.evaluation.attribution import Attribution, attribute
from salip_exp.evaluation.metrics import overlap
from salip_exp.evaluation.scores import measure
from salip_exp.methods.base import Method, Prediction
from salip_exp.methods.traits import METHODS
from salip_exp.runs._process import Stop
from salip_exp.runs.identity import fingerprint, record_key
from salip_exp.runs.listener import Listener, Run
from salip_exp.runs.records import CaseRecord, StaleRecord, record_path, reusable, sha256, write_record

log = logging.getLogger(__name__)


def run_cases(run: Run, stop: Stop, listeners: Sequence[Listener]) -> None:
    """Finish every case, in order, or those before a signal; one that fails never touches another.

    Args:
        run: gets a record for each.
        stop: whether to stop after the case at hand.
        listeners: hear of every case when it is finished.

    Raises:
        EnvironmentFault: a record cannot be written.
    """
    for ref, load in read_ahead(run.dataset.refs):
        if stop.code is not None:
            break
        run.records.append(_run_case(run, ref, load))
        for each in listeners:
            each.case(run)


def _run_case(run: Run, ref: CaseRef, load: Load) -> CaseRecord:
    """The record of one case, on disk when this returns; a failure is a record too.

    Raises:
        EnvironmentFault: the record cannot be written.
    """
    try:
        return _finished(run, ref, load)
    except CaseError as error:
        log.warning("case %s: %s %s", ref.case_id, error.code, error)
        record = _failed(run, ref, error.code, str(error))
    except SalipError:
        raise
    except Exception as error:
        log.exception("case %s", ref.case_id)
        code = "E_OOM" if out_of_memory(error) else "E_INTERNAL"
        record = _failed(run, ref, code, f"{type(error).__name__}: {error}")
    write_record(run.folder, record, None)
    return record


def _finished(run: Run, ref: CaseRef, load: Load) -> CaseRecord:
    start = time.perf_counter()
    loaded = load()
    case_hash = fingerprint(loaded.case)
    key = record_key(run.recipe, case_hash)
    known = _known(run, ref.case_id, key)
    if known is not None:
        return known
    before = run.method.counters.to_dict()
    prediction = _predict(run.method, loaded.case)
    after = run.method.counters.to_dict()
    record = _scored(run.config, loaded.case, prediction)
    picture = png(prediction.mask.astype(np.uint8) * 255)
    seconds = {"load": loaded.seconds, **record.seconds, "total": time.perf_counter() - start}
    record = replace(
        record,
        key=key,
        fingerprint=case_hash,
        work={name: after[name] - before[name] for name in after},
        png_sha256=sha256(picture),
        seconds={name: round(value, 6) for name, value in seconds.items()},
    )
    write_record(run.folder, record, picture)
    return record


def _known(run: Run, case_id: str, key: str) -> CaseRecord | None:
    """The record that is on disk, if it can be used; one that cannot is noted."""
    if not record_path(run.folder, case_id).exists():
        return None
    try:
        record = reusable(run.folder, case_id, key)
    except StaleRecord as reason:
        log.warning("case %s is done again: its record %s", case_id, reason)
        run.redone.append((case_id, str(reason)))
        return None
    run.reused += 1
    return record


def _predict(method: Method, case: Case) -> Prediction:
    prediction = method.predict(case)
    if prediction.mask.shape != case.image.shape[:2]:
        raise CaseError(
            "E_SHAPE",
            f"{case.case_id}: the predicted mask is {prediction.mask.shape}, the image {case.image.shape[:2]}",
        )
    return prediction


def _scored(config: Config, case: Case, prediction: Prediction) -> CaseRecord:
    """The record of a prediction, yet without key, fingerprint and picture."""
    empty = case.mask is not None and not case.mask.any()
    start = time.perf_counter()
    counts = None if case.mask is None else overlap(prediction.mask, case.mask)
    cause = _cause(config, case, prediction)
    scores, faults = measure(case, prediction, config.score)
    for fault in faults:
        log.warning("case %s: %s", case.case_id, fault)
    return CaseRecord(
        key="",
        fingerprint="",
        case_id=case.case_id,
        dataset=case.dataset,
        group=case.group,
        volume=case.volume,
        slice=case.slice,
        method=str(config.method),
        status="empty_gt" if empty else str(prediction.status),
        pixels_both=counts.both if counts else None,
        pixels_predicted=int(prediction.mask.sum()),
        pixels_target=counts.target if counts else None,
        scores=scores,
        n_pool=None if prediction.pool is None else len(prediction.pool),
        n_kept=None if prediction.pool is None else len(prediction.kept_ids),
        selected=[int(each) for each in prediction.selected_ids],
        similarities=[round(float(each), 6) for each in prediction.selected_scores],
        boxes=np.asarray(prediction.boxes, dtype=np.float64).round(2).tolist(),
        best_candidate_iou=cause.best_candidate_iou if cause else None,
        failure=str(cause.failure) if cause else None,
        notes=[*case.notes, *faults],
        seconds={**prediction.seconds, "score": time.perf_counter() - start},
    )


def _cause(config: Config, case: Case, prediction: Prediction) -> Attribution | None:
    """What lost the organ; None without a target, and for a method that has no stages to blame."""
    return None if case.mask is None else attribute(prediction, case.mask, config.dataset.k, METHODS[config.method])


def _failed(run: Run, ref: CaseRef, code: str, message: str) -> CaseRecord:
    return CaseRecord(
        key="",
        fingerprint="",
        case_id=ref.case_id,
        dataset=run.dataset.name,
        group=ref.group,
        volume=ref.volume,
        slice=ref.slice,
        method=str(run.config.method),
        status=f"failed({code})",
        message=" ".join(message.split()),
    )
