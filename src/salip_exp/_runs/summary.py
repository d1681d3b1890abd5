"""What the cases of a run come to: `summary.json` per group and overall, and a row per case in `cases.csv` and
`cases.parquet`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from salip_exp._files import atomic_write
from salip_exp._paper import notes_on_text
from salip_exp._runs.masks import mask_file
from salip_exp._runs.records import CaseRecord, doubt_of, subjects_of, volumes_of
from salip_exp._runs.risk import detections
from salip_exp._settings.folders import File
from salip_exp._wording import between_groups, many
from salip_exp.config import Config, Doubt, EmptyTarget, Sampler, ScoreAt
from salip_exp.data._left_out import LOST_REGIONS, shrunk_targets, vanished_targets
from salip_exp.errors import VanishedTarget
from salip_exp.evaluation.charges import STAGES
from salip_exp.evaluation.flags import REASONS
from salip_exp.evaluation.metrics import Overlap
from salip_exp.evaluation.scores import Mean, Score, means, scores
from salip_exp.evaluation.statistics import Bounds, Estimate, Gap, estimate, gap_between
from salip_exp.methods.traits import METHODS
from salip_exp.networks.registry import EMBEDDED_NAMES

VERSION = 2
USES_TARGET = "given the target"
EMBEDDED_NOTE = "embedded weights: trained on synthetic images only"
_LOSSES = "DSC lost by stage: mean charge over the n cases (evaluation.attribution); all add up to 1 minus the mean DSC"
_INTERVALS = (
    "Gaffke's interval of the mean of a bounded score, over cases, or over subjects where one holds several; it asks "
    "nothing of the distribution, so that few cases give a wide one; none of a single case or subject, or in mm"
)
BELIEFS = tuple(map(str, Doubt))
"""Measures of confidence, which stand in records, and in summaries of cases without a target."""
_NEEDED = {"cases", "dsc", "volumes", "statuses", "failures", "losses"}
_ESTIMATE = {each.name for each in fields(Estimate)}


def summarise(
    records: Sequence[CaseRecord], config: Config, networks: Mapping[str, str], sentences: Sequence[str] = ()
) -> dict[str, Any]:
    """The summary of all cases of a run, ready for JSON: a figure that was not computed is None, never NaN.

    Args:
        records: of all cases, in the order of the data.
        config: of the run.
        networks: weights of each network in use, as `weights_label` has them.
        sentences: that CLIP read.
    """
    groups = sorted({record.group for record in records})
    between = _gap(records, groups, config)
    said = [*notes(records, config, networks), *notes_on_text(config, sentences)]
    risk = {name: each.to_dict() for name, each in detections(records, config).items()}
    return {
        "version": VERSION,
        "dataset": config.dataset.name,
        "roi": config.dataset.roi,
        "method": str(config.method),
        "preset": config.preset,
        "networks": dict(networks),
        "score_at": str(config.score.at),
        **({} if config.stress is None else {"stress": config.stress}),
        **({"absent": True} if config.dataset.absent else {}),
        **({"doubt": doubt_of(records, str(config.score.doubt))} if _unscored(records) else {}),
        "confidence": config.score.confidence,
        "definitions": definitions(),
        "notes": [*said, *([] if between is None else [between_groups(asdict(between))])],
        "gap": None if between is None else asdict(between),
        "overall": _part(records, config),
        "groups": {name: _part([each for each in records if each.group == name], config) for name in groups},
        **({"risk": risk, "poor_below": config.score.poor_below} if risk else {}),
    }


def definitions() -> dict[str, str]:
    """What the figures of a part are, by name."""
    own = {mean.name: mean.definition for _, mean in means() if mean.definition}
    rest: dict[str, list[str]] = {}
    for score, mean in means():
        if not mean.definition:
            rest.setdefault(score.definition, []).append(mean.name)
    said = {", ".join(names): definition for definition, names in rest.items()}
    return {**said, "losses": _LOSSES, **own, "low, high": _INTERVALS}


def is_whole(part: Mapping[str, Any]) -> bool:
    """Whether a part of a summary has what pages cannot do without; other means may be lacking, or unknown here.

    Raises:
        TypeError: it is no part at all.
    """
    found = [part[mean.name] for _, mean in means() if part.get(mean.name) is not None]
    return set(part) >= _NEEDED and part["dsc"] is not None and all(set(each) >= _ESTIMATE for each in found)


def are_embedded(networks: Mapping[str, str]) -> bool:
    """Whether one of the networks, by their names or labels, is an embedded one."""
    return any(each.partition(":")[0] in EMBEDDED_NAMES for each in networks.values())


def notes(records: Sequence[CaseRecord], config: Config, networks: Mapping[str, str]) -> list[str]:
    """What has to be said wherever these numbers are shown."""
    said = [EMBEDDED_NOTE] if are_embedded(networks) else []
    if config.tuning.score_tuning_images and (config.tuned is not None or config.tuning.sampler is not Sampler.none):
        said.append("tuned on test: the images that the settings were tuned on are scored too")
    said += notes_on_images(config)
    if config.score.at is ScoreAt.native:
        said.append("what stages lost is DSC at working size, where they work")
    if "unet" in networks:
        said.append(f"supervised: trained on {networks['unet']}, scored on cases that it was not trained on")
    unscored = sum(record.pixels_target is None and not record.failed for record in records)
    if unscored:
        said.append(f"{unscored} of {many(len(records), '[image has|images have]')} no target: predicted, not scored")
    empty = sum(record.status == "empty_gt" for record in records)
    if empty:
        rule = {EmptyTarget.skip: "left out of every mean", EmptyTarget.one: "scored 1", EmptyTarget.zero: "scored 0"}
        said.append(
            f"{empty} of {many(len(records), '[target is|targets are]')} empty: an empty prediction is "
            f"{rule[config.score.empty_target]}, any other scores 0"
        )
    vanished = [record.case_id for record in records if record.status == f"failed({VanishedTarget.CODE})"]
    if vanished:
        said.append(vanished_targets(vanished).said)
    shrunk = [record.case_id for record in records if LOST_REGIONS in record.notes]
    if shrunk:
        said.append(shrunk_targets(shrunk).said)
    uncharged = sum(record.failure is not None and not record.charges for record in records)
    if uncharged:
        said.append(
            f"{uncharged} of {many(len(records), 'case')} were finished by an older version: their failure is by its "
            "rule, and all that they lost is charged to it"
        )
    failed = sum(record.failed for record in records)
    if failed:
        said.append(f"{failed} of {many(len(records), 'case')} failed and are in no mean")
    return said


def notes_on_images(config: Config) -> list[str]:
    """What was done to images and targets on purpose, and with the targets."""
    said = []
    if METHODS[config.method].target:
        said.append(f"{USES_TARGET}: method={config.method} looks at the target of every case, and needs labels")
    if config.stress is not None:
        said.append(f"stress={config.stress}, drawn with seed {config.seed}: every image was made worse on purpose")
    if config.dataset.absent:
        said.append("dataset.absent=true: the organ asked for is in no image, so that any prediction is wrong")
    return said


def _gap(records: Sequence[CaseRecord], groups: Sequence[str], config: Config) -> Gap | None:
    """How far the mean DSC of groups lie apart."""
    of_group = [[each for each in records if each.group == name] for name in groups]
    given = {
        name: ([each.dsc for each in cases], subjects_of(cases)) for name, cases in zip(groups, of_group, strict=True)
    }
    return gap_between(given, config.score.resamples, config.score.confidence, config.seed)


def _part(records: Sequence[CaseRecord], config: Config) -> dict[str, Any]:
    clusters = volumes_of(records)
    volumes = _volumes(records, clusters) if clusters else []
    of_cases = {mean.name: _of_cases(score, mean, records, config) for score, mean in means() if not mean.of_counts}
    of_volumes = {mean.name: _of_volumes(score, mean, volumes, config) for score, mean in means() if mean.of_counts}
    subjects = subjects_of(records)
    return {
        "cases": len(records),
        "subjects": len(set(subjects)) if subjects else None,
        **of_cases,
        "volumes": len(volumes) or None,
        **of_volumes,
        **(_beliefs(records, config) if _unscored(records) else {}),
        "statuses": dict(sorted(Counter(each.status for each in records).items())),
        "failures": dict(sorted(Counter(each.failure for each in records if each.failure).items())),
        "losses": losses(records),
        **_flagged(records),
    }


def _flagged(records: Sequence[CaseRecord]) -> dict[str, dict[str, int]]:
    """How many cases are flagged, by stage, and repaired, by step; nothing where no case has a confidence."""
    if all(each.believed("confidence") is None for each in records):
        return {}
    mended = Counter(each.repaired for each in records if each.repaired)
    return {
        "flagged": dict(sorted(Counter(each.flag for each in records if each.flag).items())),
        **({"repaired": dict(sorted(mended.items()))} if mended else {}),
    }


def _unscored(records: Sequence[CaseRecord]) -> bool:
    """Whether no case has a target."""
    return all(each.pixels_target is None for each in records)


def _beliefs(records: Sequence[CaseRecord], config: Config) -> dict[str, Any]:
    """The mean of each measure of confidence that any case has; SAM's and CLIP's word is no score: no intervals."""
    told = {name: [each.believed(name) for each in records] for name in BELIEFS}
    return {name: _estimate(values, config, None) for name, values in told.items() if values.count(None) < len(values)}


def losses(records: Sequence[CaseRecord]) -> dict[str, float]:
    """How much DSC each stage loses: the mean of its charges over the cases that have a DSC, along the chain.

    They add up to 1 minus the mean DSC. A case without charges loses all under the failure that an older version found,
    or under its status: `empty_gt`, or `ok` where a U-Net has no stages to charge.
    """
    scored = [each.charges or {each.failure or each.status: 1.0 - each.dsc} for each in records if each.dsc is not None]
    found = {name for charges in scored for name in charges}
    ordered = [*(each for each in STAGES if each in found), *sorted(found.difference(STAGES))]
    return {str(name): sum(charges.get(name, 0.0) for charges in scored) / len(scored) for name in ordered}


def _of_cases(score: Score, mean: Mean, records: Sequence[CaseRecord], config: Config) -> dict[str, Any] | None:
    """A mean over cases; None for an optional score that none of them has."""
    found = [each.scores.get(score.name) for each in records]
    values = [abs(each) if mean.absolute and each is not None else each for each in found]
    if score.optional and values.count(None) == len(values):
        return None
    return _estimate(values, config, score.bounds, subjects_of(records))


def _of_volumes(score: Score, mean: Mean, volumes: Sequence[Overlap | None], config: Config) -> dict[str, Any] | None:
    """A mean over volumes; None where there are none."""
    assert mean.of_counts is not None
    values = [None if each is None else mean.of_counts(each, config.score.empty_target) for each in volumes]
    return _estimate(values, config, score.bounds) if volumes else None


def _estimate(
    values: Sequence[float | None], config: Config, bounds: Bounds | None, clusters: Sequence[str] | None = None
) -> dict[str, Any]:
    score = config.score
    return estimate(values, clusters, score.resamples, score.confidence, config.seed, bounds).to_dict()


def _volumes(records: Sequence[CaseRecord], clusters: Sequence[str]) -> list[Overlap | None]:
    """Pixel counts of every volume; None for one with a slice that has no score, which would be another volume."""
    volumes: dict[str, list[Overlap | None]] = {}
    for record, cluster in zip(records, clusters, strict=True):
        volumes.setdefault(cluster, []).append(record.overlap)
    return [_sum(slices) for slices in volumes.values()]


def _sum(slices: Sequence[Overlap | None]) -> Overlap | None:
    whole = [each for each in slices if each is not None]
    return sum(whole, Overlap(0, 0, 0)) if len(whole) == len(slices) else None


IDENTITY: dict[str, pa.DataType] = {
    "case_id": pa.string(),
    "dataset": pa.string(),
    "group": pa.string(),
    "subject": pa.string(),
    "volume": pa.string(),
    "slice": pa.int64(),
    "method": pa.string(),
    "status": pa.string(),
}

REST: dict[str, pa.DataType] = {
    "n_pool": pa.int64(),
    "n_kept": pa.int64(),
    "selected": pa.list_(pa.int64()),
    "scores": pa.list_(pa.float64()),  # similarities of the selected candidates
    "boxes": pa.list_(pa.list_(pa.float64())),
    "best_candidate_iou": pa.float64(),
    "failure": pa.string(),
    "roi_recall": pa.float64(),
    **{f"lost_{stage}": pa.float64() for stage in STAGES},
    "pixels_both": pa.int64(),
    "pixels_predicted": pa.int64(),
    "pixels_target": pa.int64(),
    "message": pa.string(),
    "notes": pa.list_(pa.string()),
    **{name: pa.float64() for name in BELIEFS},
    "dsc_at_least": pa.float64(),
    "flag": pa.string(),
    "flag_reason": pa.string(),
    "repaired": pa.string(),
    "dsc_before": pa.float64(),
    "confidence_before": pa.float64(),
    "stress": pa.string(),
    "image": pa.string(),
    "mask": pa.string(),
    "prediction": pa.string(),  # at the size of the image, from the run folder
    "score_at": pa.string(),  # the size at which pixels are counted and scores taken
}


def columns() -> dict[str, pa.DataType]:
    """What both files hold of a case, a column for each score among it."""
    return IDENTITY | {score.name: pa.float64() for score in scores()} | REST


def case_table(folder: Path, records: Sequence[CaseRecord], score_at: str | None) -> pa.Table:
    """A row per case in the given order: `columns()`, then `seconds_<stage>` for every stage that ran.

    A figure that was not computed is null, and so is the file of a prediction that is not there.

    Args:
        score_at: what `score.at` was; None where that is not known.
    """
    stages = dict.fromkeys(f"seconds_{stage}" for record in records for stage in record.seconds)
    schema = pa.schema(columns() | dict.fromkeys(stages, pa.float64()))
    files = [mask_file(record) for record in records]
    there = [name if name is not None and (folder / name).exists() else None for name in files]
    rows = [
        _row(record) | {"prediction": utf8(name), "score_at": score_at}
        for record, name in zip(records, there, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=schema.names, dtype=object)
    return pa.Table.from_pandas(frame, schema, preserve_index=False)


def write_tables(folder: Path, records: Sequence[CaseRecord], score_at: ScoreAt) -> None:
    """Write the table of cases as `cases.csv`, where lists are JSON and null is an empty cell, and `cases.parquet`.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    table = case_table(folder, records, str(score_at))
    atomic_write(folder / File.case_columns, lambda stream: pq.write_table(table, stream))
    frame = pd.DataFrame(table.to_pylist(), columns=table.schema.names, dtype=object)
    lists = {each.name: frame[each.name].map(_json) for each in table.schema if pa.types.is_list(each.type)}
    atomic_write(folder / File.case_table, frame.assign(**lists).to_csv(index=False, lineterminator="\n"))


def _row(record: CaseRecord) -> dict[str, Any]:
    values = asdict(record) | record.scores | {"scores": record.similarities}
    values |= {name: record.believed(name) for name in BELIEFS}
    values |= {"flag_reason": REASONS.get(record.flag or "")}
    values |= {f"{name}_before": value for name, value in record.before.items()}
    of_stages = {f"seconds_{stage}": taken for stage, taken in record.seconds.items()}
    of_stages |= {f"lost_{stage}": lost for stage, lost in record.charges.items()}
    return {name: utf8(value) for name, value in (values | of_stages).items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def utf8(value: Any) -> Any:
    """Text as UTF-8 can hold it: file names need not be valid text, Parquet's strings must."""
    if isinstance(value, list):
        return [utf8(each) for each in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
