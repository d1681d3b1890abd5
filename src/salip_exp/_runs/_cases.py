"""The cases of a run: each is read, looked up, predicted, measured, and on disk before the next."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from salip_exp._files import atomic_write, png
from salip_exp._runs._process import Stop
from salip_exp._runs.candidates import table_of, to_bytes
from salip_exp._runs.listener import Listener, Run
from salip_exp._runs.records import (
    CaseRecord,
    StaleRecord,
    before_path,
    fingerprint,
    record_key,
    record_path,
    reusable,
    sha256,
    write_record,
)
from salip_exp._timing import Stopwatch
from salip_exp._wording import brief
from salip_exp.cascade.work import out_of_memory
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.loading import Load, native_mask, prefetched
from salip_exp.errors import CaseError, SalipError
from salip_exp.evaluation._assessment import NOTHING
from salip_exp.evaluation._confidence import predicted_iou
from salip_exp.evaluation._repair import Outcome, assessed
from salip_exp.evaluation.attribution import Attribution, attribute, roi_recall
from salip_exp.evaluation.metrics import dice, overlap
from salip_exp.evaluation.scores import measure
from salip_exp.methods.base import Method, Prediction

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
    record, prediction, first = judge(run, loaded.case)
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
    _write_before(run.folder, record, first)
    write_record(run.folder, record, picture, candidates)
    return record


def judge(run: Run, case: Case) -> tuple[CaseRecord, Prediction, Prediction]:
    """The record of a case without key and hashes, its prediction, and what that was before a repair; nothing is kept.

    Raises:
        CaseError: it cannot be predicted, or scored.
    """
    first, watch = _predict(run.method, case), Stopwatch()
    outcome, untold = _assessed(run, first, watch)
    record = _scored(run.config, case, outcome, *_compared(run, case, outcome.prediction), watch)
    record = replace(record, notes=[*record.notes, *untold])
    if outcome.step is not None:
        record = replace(record, repaired=str(outcome.step), before=_before(run, case, first, outcome))
    return record, outcome.prediction, first


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


def _scored(
    config: Config, case: Case, outcome: Outcome, compared: Case, judged: Prediction, watch: Stopwatch
) -> CaseRecord:
    """The record of a prediction, yet without key, fingerprint and picture.

    Args:
        case, outcome: at working size.
        compared, judged: at the size at which they are scored.
        watch: of what came after the prediction.
    """
    prediction, believed = outcome.prediction, outcome.believed
    empty = case.mask is not None and not case.mask.any()
    with watch.stage("score"):
        scores, faults = measure(compared, judged, config.score)
    with watch.stage("attribution"):
        cause, uncharged = _cause(config, case, prediction)
    faults += uncharged
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
        **_pixels(judged, compared),
        scores=scores | believed.scores,
        flag=None if believed.flag is None else str(believed.flag),
        n_pool=None if prediction.pool is None else len(prediction.pool),
        n_kept=None if prediction.pool is None else len(prediction.kept_ids),
        selected=[int(each) for each in prediction.selected_ids],
        similarities=[round(float(each), 6) for each in prediction.selected_scores],
        boxes=np.asarray(prediction.boxes, dtype=np.float64).round(2).tolist(),
        best_candidate_iou=cause.best_candidate_iou if cause else None,
        failure=str(cause.failure) if cause else None,
        roi_recall=roi_recall(prediction.mask, case.mask, config),
        charges=cause.charges if cause else {},
        notes=[*case.notes, *faults],
        confidence=believed.signals,
        predicted_iou=None if prediction.pool is None else predicted_iou(prediction, config.dataset.k),
        stress=case.stress,
        **_source(case),
        seconds=prediction.seconds | watch.seconds,
    )


def _pixels(judged: Prediction, compared: Case) -> dict[str, Any]:
    """What DSC is made of, as far as it is known."""
    if compared.mask is None:
        return {"pixels_predicted": int(judged.mask.sum())}
    counts = overlap(judged.mask, compared.mask)
    return {"pixels_both": counts.both, "pixels_predicted": counts.predicted, "pixels_target": counts.target}


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


def _assessed(run: Run, prediction: Prediction, watch: Stopwatch) -> tuple[Outcome, list[str]]:
    """How good a prediction is believed to be, repaired where that is asked for; a note where SAM does not say it."""
    try:
        with watch.stage("confidence"):
            return assessed(prediction, run.assess, run.config), []
    except CaseError as error:
        return Outcome(prediction, NOTHING), [f"its confidence is missing: {error.code}: {error}"]


def _before(run: Run, case: Case, first: Prediction, outcome: Outcome) -> dict[str, float]:
    """What a repaired case was before: its confidence, and how it met its target where it has one."""
    told = {"confidence": outcome.first, "roi_recall": roi_recall(first.mask, case.mask, run.config)}
    compared, judged = _compared(run, case, first)
    if compared.mask is not None:
        counts = overlap(judged.mask, compared.mask)
        dsc = dice(judged.mask, compared.mask, run.config.score.empty_target)
        told |= {"dsc": None if math.isnan(dsc) else dsc, "precision": counts.precision, "recall": counts.recall}
    return {name: value for name, value in told.items() if value is not None}


def _write_before(folder: Path, record: CaseRecord, first: Prediction) -> None:
    """Keep the mask of a repaired case as the cascade left it, beside its record."""
    path = before_path(folder, record.case_id)
    if record.repaired is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(exist_ok=True)
        atomic_write(path, png(first.mask.astype(np.uint8) * 255))


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
