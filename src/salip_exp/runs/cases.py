"""The loop over cases: read, reuse or predict, score, and put the record on disk before the next one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from salip_exp.config import Config
from salip_exp.console import progress
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.loading import Load, read_ahead
from salip_exp.errors import CaseError, SalipError
from salip_exp.evaluation.attribution import Attribution, attribute
from salip_exp.evaluation.metrics import overlap
from salip_exp.evaluation.scores import measure
from salip_exp.files import png
from salip_exp.methods.base import Method, Prediction
from salip_exp.methods.traits import METHODS
from salip_exp.runs.identity import fingerprint, record_key
from salip_exp.runs.process import Stop
from salip_exp.runs.records import CaseRecord, StaleRecord, record_path, reusable, sha256, write_record

log = logging.getLogger(__name__)


@dataclass
class Session:
    """What the cases of a run share, and what happened to them.

    Attributes:
        recipe: hash of all that makes a prediction other than the case (`identity.recipe`).
        dataset: name of the data set.
        reused: cases whose record was there already.
        redone: (id, reason) of records that were there and could not be used.
    """

    config: Config
    folder: Path
    method: Method
    recipe: str
    dataset: str
    reused: int = 0
    redone: list[tuple[str, str]] = field(default_factory=list)


class MeanDsc:
    """DSC so far, over the cases that have one."""

    def __init__(self) -> None:
        self.sum, self.n = 0.0, 0

    def add(self, record: CaseRecord) -> str:
        """Take one more case, and say the mean."""
        if record.dsc is not None:
            self.sum, self.n = self.sum + record.dsc, self.n + 1
        return f"mean DSC {self.sum / self.n:.3f} (n={self.n})" if self.n else "no score yet"


def run_cases(
    session: Session, refs: Sequence[CaseRef], stop: Stop, told: Callable[[CaseRecord], None]
) -> list[CaseRecord]:
    """Finish every case, in order, or those before a signal; one that fails never touches another.

    Args:
        session: of the run.
        refs: of the data set.
        stop: whether to stop after the case at hand.
        told: hears of every case when it is finished.

    Raises:
        EnvironmentFault: a record cannot be written.
    """
    records = []
    mean = MeanDsc()
    with progress(len(refs), session.config.progress, "case") as report:
        for ref, load in read_ahead(refs):
            if stop.code is not None:
                break
            records.append(run_case(session, ref, load))
            told(records[-1])
            report(mean.add(records[-1]))
    return records


def run_case(session: Session, ref: CaseRef, load: Load) -> CaseRecord:
    """The record of one case, on disk when this returns; a failure is a record too.

    Raises:
        EnvironmentFault: the record cannot be written.
    """
    try:
        return _finished(session, ref, load)
    except CaseError as error:
        log.warning("case %s: %s %s", ref.case_id, error.code, error)
        record = _failed(session, ref, error.code, str(error))
    except SalipError:
        raise
    except Exception as error:
        log.exception("case %s", ref.case_id)
        code = "E_OOM" if _lacks_memory(error) else "E_INTERNAL"
        record = _failed(session, ref, code, f"{type(error).__name__}: {error}")
    write_record(session.folder, record, None)
    return record


def _finished(session: Session, ref: CaseRef, load: Load) -> CaseRecord:
    start = time.perf_counter()
    loaded = load()
    case = loaded.case
    case_hash = fingerprint(case)
    key = record_key(session.recipe, case_hash)
    try:
        record = reusable(session.folder, ref.case_id, key)
    except StaleRecord as reason:
        if record_path(session.folder, ref.case_id).exists():
            log.warning("case %s is done again: its record %s", ref.case_id, reason)
            session.redone.append((ref.case_id, str(reason)))
    else:
        session.reused += 1
        return record
    before = session.method.counters.to_dict()
    prediction = _predict(session.method, case)
    after = session.method.counters.to_dict()
    picture = png(prediction.mask.astype(np.uint8) * 255)
    record = replace(
        _scored(session.config, case, prediction),
        key=key,
        fingerprint=case_hash,
        work={name: after[name] - before[name] for name in after},
        png_sha256=sha256(picture),
    )
    seconds = {"load": loaded.seconds, **record.seconds, "total": time.perf_counter() - start}
    record = replace(record, seconds={name: round(value, 6) for name, value in seconds.items()})
    write_record(session.folder, record, picture)
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
    """What lost the organ; None without a target, and for a U-Net, which has no stages to blame."""
    if case.mask is None or config.method is MethodName.unet:
        return None
    return attribute(prediction, case.mask, config.dataset.k, by_clip=config.method is not MethodName.oracle)


def _failed(session: Session, ref: CaseRef, code: str, message: str) -> CaseRecord:
    return CaseRecord(
        key="",
        fingerprint="",
        case_id=ref.case_id,
        dataset=session.dataset,
        group=ref.group,
        volume=ref.volume,
        slice=ref.slice,
        method=str(session.config.method),
        status=f"failed({code})",
        message=" ".join(message.split()),
    )


def _lacks_memory(error: Exception) -> bool:
    # Imported here: it needs torch, and a run says what is wrong with its folder before it waits for that.
    from salip_exp.cascade.work import out_of_memory

    return out_of_memory(error)
