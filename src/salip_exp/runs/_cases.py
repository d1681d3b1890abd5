"""The cases of a run: each is read, looked up, predicted, measured, and on disk before the next."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from salip_exp._files import png
from salip_exp._timing import Stopwatch
from salip_exp._wording import brief
from salip_exp.cascade.work import out_of_memory
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.loading import Load, native_mask, prefetched
from salip_exp.errors import CaseError, SalipError
from salip_exp.evaluation._confidence import confidence, predicted_iou
from salip_exp.evaluation.attribution import Attribution, attribute
from salip_exp.evaluation.metrics import overlap
from salip_exp.evaluation.scores import measure
from salip_exp.methods.base import Method, Prediction
from salip_exp.runs._process import Stop
from salip_exp.runs.candidates import table_of, to_bytes
from salip_exp.runs.listener import Listener, Run
from salip_exp.runs.records import (
    CaseRecord,
    StaleRecord,
    fingerprint,
    record_key,
    record_path,
    reusable,
    sha256,
    write_record,
)

_log = logging.getLogger(__name__)


def run_cases(run: Run, stop: Stop, listeners: Sequence[Listener]) -> None:
    """Finish every case, in order, or those before a signal; one that fails never touches another.

    Args:
        run: gets a record for each.
        stop: whether to stop after the case at hand.
        listeners: hear of every case when it is finished.

    Raises:
        EnvironmentFault: a record cannot be written.
    """
    for ref, load in prefetched(run.dataset.refs):
        if stop.code is not None:
            break
        run.records.append(run_case(run, ref, load))
        for each in listeners:
            each.case(run)


def run_case(run: Run, ref: CaseRef, load: Load) -> CaseRecord:
    """The record of one case, on disk when this returns; a failure is a record too.

    Raises:
        EnvironmentFault: the record cannot be written.
    """
    try:
        return _finished(run, ref, load)
    except CaseError as error:
        _log.warning("case %s: %s %s", ref.case_id, error.code, error)
        record = failed_case(run, ref, error.code, str(error))
    except SalipError:
        raise
    except Exception as error:
        _log.exception("case %s", ref.case_id)
        code = "E_OOM" if out_of_memory(error) else "E_INTERNAL"
        record = failed_case(run, ref, code, f"{type(error).__name__}: {error}")
    write_record(run.folder, record, None)
    return record


def _finished(run: Run, ref: CaseRef, load: Load) -> CaseRecord:
    start = time.perf_counter()
    loaded = load()
    run.doubts.see(loaded.case)
    case_hash = fingerprint(loaded.case)
    key = record_key(run.identity, case_hash)
    known = _known(run, ref.case_id, key)
    if known is not None:
        return replace(known, **_source(loaded.case))  # what earlier versions do not tell
    before = run.method.counters.to_dict()
    prediction = _predict(run.method, loaded.case)
    record = _scored(run.config, loaded.case, prediction, *_compared(run, loaded.case, prediction))
    after = run.method.counters.to_dict()
    picture = png(prediction.mask.astype(np.uint8) * 255)
    table = table_of(prediction)
    candidates = None if table is None else to_bytes(table)
    seconds = {"load": loaded.seconds, **record.seconds, "total": time.perf_counter() - start}
    record = replace(
        record,
        key=key,
        fingerprint=case_hash,
        work={name: after[name] - before[name] for name in after},
        png_sha256=sha256(picture),
        candidates_sha256=None if candidates is None else sha256(candidates),
        seconds={name: round(value, 6) for name, value in seconds.items()},
    )
    write_record(run.folder, record, picture, candidates)
    return record


def _known(run: Run, case_id: str, key: str) -> CaseRecord | None:
    """The record that is on disk, if it can be used; one that cannot is noted."""
    if not record_path(run.folder, case_id).exists():
        return None
    try:
        record = reusable(run.folder, case_id, key)
    except StaleRecord as reason:
        _log.warning("case %s is done again: its record %s", case_id, reason)
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


def _compared(run: Run, case: Case, prediction: Prediction) -> tuple[Case, Prediction]:
    """A case and its prediction at the size at which they are scored."""
    if not run.natives:
        return case, prediction
    own = run.natives[case.case_id].load()
    mask = native_mask(prediction.mask, (own.image.shape[0], own.image.shape[1]), run.config.dataset.resize)
    return own, replace(prediction, mask=mask)


def _scored(config: Config, case: Case, prediction: Prediction, compared: Case, judged: Prediction) -> CaseRecord:
    """The record of a prediction, yet without key, fingerprint and picture.

    Args:
        case, prediction: at working size.
        compared, judged: at the size at which they are scored.
    """
    empty = case.mask is not None and not case.mask.any()
    watch = Stopwatch()
    counts = None if compared.mask is None else overlap(judged.mask, compared.mask)
    with watch.stage("score"):
        scores, faults = measure(compared, judged, config.score)
    with watch.stage("attribution"):
        cause, uncharged = _cause(config, case, prediction)
    believed, untold = _confidence(config, case, prediction, watch)
    faults += uncharged + untold
    for fault in faults:
        _log.warning("case %s: %s", case.case_id, fault)
    return CaseRecord(
        key="",
        fingerprint="",
        case_id=case.case_id,
        dataset=case.dataset,
        group=case.group,
        subject=case.subject,
        volume=case.volume,
        slice=case.slice,
        method=str(config.method),
        status="empty_gt" if empty else str(prediction.status),
        pixels_both=counts.both if counts else None,
        pixels_predicted=int(judged.mask.sum()),
        pixels_target=counts.target if counts else None,
        scores=scores,
        n_pool=None if prediction.pool is None else len(prediction.pool),
        n_kept=None if prediction.pool is None else len(prediction.kept_ids),
        selected=[int(each) for each in prediction.selected_ids],
        similarities=[round(float(each), 6) for each in prediction.selected_scores],
        boxes=np.asarray(prediction.boxes, dtype=np.float64).round(2).tolist(),
        best_candidate_iou=cause.best_candidate_iou if cause else None,
        failure=str(cause.failure) if cause else None,
        charges=cause.charges if cause else {},
        notes=[*case.notes, *faults],
        confidence=believed,
        predicted_iou=None if prediction.pool is None else predicted_iou(prediction, config.dataset.k),
        **_source(case),
        seconds=prediction.seconds | watch.seconds,
    )


def _source(case: Case) -> dict[str, Any]:
    """Where a case was read, as its record keeps it."""
    source = case.source
    if source is None:
        return {}
    return {
        "image": str(source.image),
        "mask": None if source.mask is None else str(source.mask),
        "size": list(source.size),
        "axis": None if source.axis is None else str(source.axis),
    }


def _cause(config: Config, case: Case, prediction: Prediction) -> tuple[Attribution | None, list[str]]:
    """What lost the organ, where that can be said, and a note where SAM does not let it."""
    try:
        return attribute(case, prediction, config), []
    except CaseError as error:  # of boxes that the prediction was not made of: it stands without
        return None, [f"what its stages lost is missing: {error.code}: {error}"]


def _confidence(
    config: Config, case: Case, prediction: Prediction, watch: Stopwatch
) -> tuple[dict[str, float], list[str]]:
    """How good the prediction of a case without a target is believed to be, and a note where SAM does not say it."""
    if case.mask is not None:
        return {}, []
    try:
        with watch.stage("confidence"):
            return confidence(prediction, config.dataset.k), []
    except CaseError as error:
        return {}, [f"its confidence is missing: {error.code}: {error}"]


def failed_case(run: Run, ref: CaseRef, code: str, message: str) -> CaseRecord:
    return CaseRecord(
        key="",
        fingerprint="",
        case_id=ref.case_id,
        dataset=run.dataset.name,
        group=ref.group,
        subject=ref.subject,
        volume=ref.volume,
        slice=ref.slice,
        method=str(run.config.method),
        status=f"failed({code})",
        message=brief(message),
    )
