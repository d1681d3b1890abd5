"""One run from its configuration to its run folder: claim, read data, load networks, loop over cases, sum up."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from salip_exp._files import keep, png, require_kept
from salip_exp._settings.folders import PAGES_LEFT, File, way_on
from salip_exp._timing import Parts, Stopwatch
from salip_exp._wording import brief, many
from salip_exp.cache._base import tallies
from salip_exp.cascade.work import out_of_memory
from salip_exp.config import Config, ScoreAt, Task
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.data.loading import Load, native_mask, prefetched
from salip_exp.errors import CaseError, EnvironmentFault, SalipError, TooManyFailures
from salip_exp.evaluation._confidence import predicted_iou
from salip_exp.evaluation.attribution import Attribution, attribute
from salip_exp.evaluation.metrics import overlap
from salip_exp.evaluation.scores import measure, scores
from salip_exp.methods.base import Method, Prediction
from salip_exp.runs._dicom_seg import require_extra
from salip_exp.runs._identity import differences, read_identity, without, write_identity
from salip_exp.runs._manifest import closing, opening, write_config
from salip_exp.runs._process import Stop, stoppable
from salip_exp.runs.candidates import table_of, to_bytes, write_candidates
from salip_exp.runs.folder import State, claim, write_json, write_status
from salip_exp.runs.lab import Lab, Loaded
from salip_exp.runs.listener import Listener, Run, heard_to_the_end
from salip_exp.runs.masks import write_masks
from salip_exp.runs.records import (
    CaseRecord,
    StaleRecord,
    fingerprint,
    recipe,
    record_key,
    record_path,
    reusable,
    run_identity,
    sha256,
    write_record,
)
from salip_exp.runs.summary import summarise, write_tables

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
        _log.warning("case %s: %s %s", ref.case_id, error.code, error)
        record = _failed(run, ref, error.code, str(error))
    except SalipError:
        raise
    except Exception as error:
        _log.exception("case %s", ref.case_id)
        code = "E_OOM" if out_of_memory(error) else "E_INTERNAL"
        record = _failed(run, ref, code, f"{type(error).__name__}: {error}")
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


def _failed(run: Run, ref: CaseRef, code: str, message: str) -> CaseRecord:
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


_Choose = Callable[[Dataset], Dataset]
"""Leaves out cases that a run may not score: those that its settings were tuned on, or its network was trained on."""


def everything(dataset: Dataset) -> Dataset:
    """The data set as it is."""
    return dataset


def run(
    config: Config,
    folder: Path,
    command: Sequence[str],
    lab: Lab,
    listeners: Sequence[Listener] = (),
    choose: _Choose = everything,
) -> int:
    """Run the configured method over the configured data set and fill the run folder.

    Every case is on disk when it is finished, so the run can end at any moment and be continued by `resume=true`.

    Args:
        config: checked.
        folder: the run folder; made if absent.
        command: what to type to get this run again.
        lab: lends data and networks.
        listeners: hear of it, in this order.
        choose: which cases of the data set are run.

    Returns:
        0, or 130 or 143 when a signal ended the run after the case at hand.

    Raises:
        TooManyFailures: more cases failed than `max_failed` allows; everything is written nevertheless.
        EnvironmentFault: the folder is in use, holds another run, or cannot be written.
        DataError, WeightsError, ConfigError: from the lab, or from `choose`.
    """
    with claim(folder):
        if not config.resume and any((folder / File.cases).glob("*.json")):
            raise EnvironmentFault(
                f"{folder} holds a run already: resume=true continues it, hydra.run.dir=DIR starts anew"
            )
        write_status(folder, State.running)
        return heard_to_the_end(listeners, lambda: _conduct(config, folder, command, lab, listeners, choose))


def _conduct(
    config: Config, folder: Path, command: Sequence[str], lab: Lab, listeners: Sequence[Listener], choose: _Choose
) -> int:
    """All of a run inside its claimed folder; 0, or the exit code of the signal that ended it."""
    try:
        parts = Parts()
        run, loaded = _begun(config, folder, command, lab, choose, parts)
        built = run.method.counters.to_dict()
        for each in listeners:
            each.began(run)
        with parts("cases"), stoppable() as stop:
            run_cases(run, stop, listeners)
        if len(run.records) < len(run.dataset.refs):
            return _interrupted(run, stop.code or 0)
        # Before listeners that ask the method again; `parts` goes on counting.
        run.manifest |= closing(run, built, parts, lab.store(config.cache))
        with parts("results"):
            run.summary = summarise(run.records, config, loaded.names, loaded.sentences)
            write_masks(folder, run.records, config.dataset)
            write_tables(folder, run.records)
            write_candidates(folder, run.records, run.sentences)
            for each in listeners:
                each.scored(run)
        _finish(run)
    except BaseException as error:
        _leave(folder, error)
        raise
    for each in listeners:
        each.finished(run)
    write_status(folder, State.finished, **_counts(run))
    return _verdict(run)


def _begun(
    config: Config, folder: Path, command: Sequence[str], lab: Lab, choose: _Choose, parts: Parts
) -> tuple[Run, Loaded]:
    """The run before its first case, with `config.yaml` and `manifest.json` written."""
    scores()  # what another package gives is looked at before networks are loaded
    if config.dataset.files.dicom_seg:
        require_extra()
    store = lab.store(config.cache)  # before them, too: a folder that cannot be written must not cost a model's loading
    store.stats.update(tallies())
    with parts("data"):
        dataset = lab.dataset(config)
    with parts("models"):
        loaded = lab.loaded(config)
        method = lab.method(config)
    dataset = choose(dataset)
    mixture = recipe(config, loaded.hashes, loaded.sentences, loaded.device)
    identity = run_identity(mixture, [ref.case_id for ref in dataset.refs])
    run = Run(config, folder, command, dataset, method, identity, opening(config, command, dataset, loaded))
    run.sentences = loaded.sentences
    run.natives = lab.natives(config) if config.score.at is ScoreAt.native else {}
    _settle(run)
    return run, loaded


def _settle(run: Run) -> None:
    """Say in the folder what the run is of; a run that continues says what has changed since it began."""
    before = read_identity(run.folder)
    write_config(run.folder, run.config)
    for place in (File.cases, File.predictions, File.candidates, File.masks):
        keep(run.folder / place)
    (run.folder / File.summary).unlink(missing_ok=True)  # of what it was until now
    write_identity(run.folder, run.identity)
    write_json(run.folder / File.manifest, run.manifest)
    changes = [] if before is None else differences(before, run.identity)
    if before is not None and changes:
        run.gone = without(before.cases, run.identity.cases)
        sys.stderr.write(f"changed since this run began: {'; '.join(changes)}; what that touches is done again\n")


def _finish(run: Run) -> None:
    write_json(run.folder / File.manifest, run.manifest)
    write_json(run.folder / File.summary, run.summary)
    write_status(run.folder, State.finished, **_counts(run), **{PAGES_LEFT: True})


def _counts(run: Run) -> dict[str, int]:
    return {"done": len(run.records), "failed": sum(each.failed for each in run.records)}


def _interrupted(run: Run, code: int) -> int:
    done, total = len(run.records), len(run.dataset.refs)
    write_status(run.folder, State.interrupted, done=done, total=total, exit_code=code)
    on = way_on(Task.run, run.folder)
    sys.stderr.write(f"stopped after {done} of {total} cases, in {run.folder}{f'; {on}' if on else ''}\n")
    return code


def _leave(folder: Path, error: BaseException) -> None:
    """Say how the run ended; one that never began leaves nothing to continue."""
    stopped = isinstance(error, KeyboardInterrupt | SystemExit)
    state = State.interrupted if stopped else State.failed
    with suppress(EnvironmentFault, OSError):  # the disk that ended the run may be full for this as well
        require_kept(folder)
        if (folder / File.config).exists():
            write_status(folder, state, message=" ".join(str(error).split()))
        else:
            (folder / File.status).unlink(missing_ok=True)


def _verdict(run: Run) -> int:
    failed = [record for record in run.records if record.failed]
    if len(failed) > run.config.max_failed * len(run.records):
        raise TooManyFailures(
            f"{len(failed)} of {many(len(run.records), 'case')} failed, more than max_failed={run.config.max_failed} "
            f"allows, the first being {failed[0].case_id} ({failed[0].message}); all results are in {run.folder}"
        )
    return 0
